"""The pages in a real Chromium: every flow, wide and narrow, light and dark, with JavaScript and without."""
