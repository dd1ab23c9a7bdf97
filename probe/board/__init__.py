"""The leaderboard: finished runs ranked by how well their dictionaries do, from report.json alone, without torch."""
