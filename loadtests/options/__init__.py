"""What each kind of user is told: the `with` of a load profile, one module for each kind. Pure data."""
