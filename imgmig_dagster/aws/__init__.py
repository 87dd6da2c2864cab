"""How AWS is reached: endpoints and proxies, credentials, signatures, and what each error of the service means.

`target`, `state` and `sandbox` say what is asked of it. `stage.aws_settings` reads the settings.
"""
