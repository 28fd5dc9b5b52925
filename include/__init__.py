"""QuantStream's library: plain Python, no Airflow import."""
