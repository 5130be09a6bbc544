"""What is measured, and how often."""

ATTACHES = 200
PUBLISHES = 20
PORT_COUNTS = (1, 100, 1000)
