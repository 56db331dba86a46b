"""Long runs of real processes under drawn failures, by command: `python -m tests.campaigns --help`."""
