"""The authoring kit: writes a journey that runs, and whose test passes, for an engineer to make their own."""
