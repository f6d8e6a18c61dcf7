"""People whose data tests deliver, and the settings with which they can be found."""

SUBJECTS = {
    "SUBJECT_FIELDS": (
        "nric=data.customer.nric,email=data.customer.email,phone=data.customer.phone,number=data.nominees.id"
    ),
    "SUBJECT_INDEX_KEYS": "3b1f5c9e7a2d4680ace13579bdf02468f0e1d2c3b4a5968778695a4b3c2d1e0f",
}
OTHER_INDEX_KEY = "c0ffee1234567890abcdef9876543210fedcba0987654321aabbccdd44556677"
NRIC, EMAIL, PHONE = "900101-14-5678", "siti.nurhaliza@example.my", "+60 12-345 6789"
SITI = {"nric": NRIC, "email": EMAIL, "phone": PHONE, "name": "Siti Nurhaliza"}
KAMALA = {"nric": "880202-10-1234", "email": "kamala@example.my", "phone": "013-999 8888", "name": "Kamala Devi"}
