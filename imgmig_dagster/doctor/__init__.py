"""`imgmig doctor`: examines the services of a stage before a run uses them. The command is `cli/doctor.py`."""
