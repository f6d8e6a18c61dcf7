-- What PostgreSQL alone does with the rows of one event: as large, in one statement, in one transaction.
-- Both payloads are variables: pgbench sends them with every transaction, as the receivers do.
WITH new AS (
    INSERT INTO events (
        seal_id, event_id, event_type, occurred_at, received_at, due_at, transaction_id, policy_id, reported_status,
        environment, state, body_digest, sealed_payload, sealing_key, masked_payload
    )
    SELECT
        number, 'evt_' || replace(number::text, '-', ''), 'payment.success', now(), now(), now(),
        'TXN-' || left(number::text, 8), 'POL-' || left(number::text, 6), 'paid', 'sandbox', 'pending',
        '01234567:' || md5(number::text) || md5(number::text), decode(:sealed, 'base64'), '01234567', :masked
    FROM (SELECT gen_random_uuid() AS number) AS numbers
    ON CONFLICT DO NOTHING
    RETURNING id, event_id, event_type
)
INSERT INTO audit_log (at, action, event_id, event_type, result, request_id, duration_ms, inbox_id)
SELECT now(), 'delivery', event_id, event_type, 'accepted', md5(event_id), 4, id FROM new;
