"""What a stage says, and what a run of it gets: settings and tables, the guard of writes, the work.

Begin with `config` for settings, `write_guard` for who may write, `work` for what a step works on.
"""
