"""What is done with rows: inventory, plan, migrate, repair; verify, census, spot check.

The pass that carries them over a window is in `walk`, what they decide by in `rules` and `mapping`. The modules that
verify share no code with those that write (a test holds it); what they found, and whether it counts, is `verification`.
"""
