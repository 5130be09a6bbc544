"""What the demo can show: each scenario is a package whose module `scenario` has `play(lab, story)`."""
