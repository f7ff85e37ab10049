"""The journeys: one file each, on a small base; enrolment says who enters and who is told what."""
