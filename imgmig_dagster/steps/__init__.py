"""What is done with rows: inventory, dry run, migrate, retry, repair; verify, census, spot check.

`walk` holds the pass that carries them over a window; `rules` and `mapping` hold what they decide by. Modules that
verify share no code with modules that write (a test checks this). `verification` holds what they found, and whether it
counts.
"""
