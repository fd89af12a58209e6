"""One HTML file about runs, with everything inside: configuration, curves, health, speed, views, evaluations and pictures."""
