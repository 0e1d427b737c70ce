"""What people read: the markdown leaderboard, its CSV and JSON forms, rate-distortion plots, the HTML page."""
