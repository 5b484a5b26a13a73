"""A trained model in and out of service: prediction on plain inputs, publication, export."""
