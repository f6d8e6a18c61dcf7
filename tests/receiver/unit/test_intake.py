"""What a web process needs beside the inbox is made at its first need, and by no command."""

from receiver.ingest.intake import intake_of


def test_a_command_makes_no_intake(app):
    result = app.test_cli_runner().invoke(args=["events", "list"])

    assert (result.exit_code, "intake" in app.extensions) == (0, False)


def test_all_requests_of_a_process_share_one_intake(app, deliver):
    deliver()
    first = intake_of(app)
    deliver()

    assert app.extensions["intake"] is first
    assert first.committer.waiting == 0
