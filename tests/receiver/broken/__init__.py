"""A small receiver that keeps Senang.io's page, and ten that break it in one place each."""
