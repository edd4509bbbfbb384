"""What a request for a prediction is: parsing, validation, pick-up times, files of requests."""
