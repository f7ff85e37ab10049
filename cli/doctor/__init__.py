"""`journeys doctor`: is everything that Journeys needs there and as it must be, and if not, what mends it?"""
