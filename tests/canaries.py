"""Credentials in every shape that an address can have, and variables that hold one: nothing may ever repeat them."""

from __future__ import annotations

CANARY = "kanarie5f2d"
"""Stands in every secret below, before and after each character that a parser may stumble over."""
TAIL = "geheim9c1e"

URIS = {
    "a password": f"postgresql://me:{CANARY}@host:5432/db",
    "with a driver": f"postgresql+psycopg2://me:{CANARY}@host/db",
    "a password with a slash": f"postgresql://me:{CANARY}/{TAIL}@host:5432/db",
    "a password with an at": f"postgresql://me:{CANARY}@{TAIL}@host:5432/db",
    "a password with a colon": f"postgresql://me:{CANARY}:{TAIL}@host/db",
    "a password with a question mark": f"postgresql://me:{CANARY}?{TAIL}@host/db",
    "a password with a hash": f"https://me:{CANARY}#{TAIL}@host/db",
    "a quoted password": f"postgresql://me:{CANARY}%2F{TAIL}@host/db",
    "a password without a user": f"https://:{CANARY}@host/",
    "mysql": f"mysql+pymysql://u:{CANARY}@db/x",
    "a password in the query": f"postgresql://host/db?user=me&password={CANARY}",
    "sslpassword": f"postgresql://host/db?sslmode=require&sslpassword={CANARY}",
    "passwd": f"mysql://host/db?passwd={CANARY}",
    "a password with an at in the query": f"postgresql://host/db?password={CANARY}@{TAIL}",
    "a password of a server": f"http://me:{CANARY}@mlflow:5000/x",
    "a token of a server": f"https://{CANARY}@mlflow.example.com",
    "a token in the query": f"https://host/?token={CANARY}",
    "a shared access signature": f"https://host/container?sv=2024&sig={CANARY}",
    "a presigned address": f"https://host/k?X-Amz-Credential={CANARY}&X-Amz-Signature={TAIL}",
    "a session token": f"https://host/k?X-Amz-Security-Token={CANARY}",
    "an api key": f"https://host/k?api_key={CANARY}",
    "a secret in the query": f"https://host/k?client_secret={CANARY}",
    "keys of a bucket": f"s3://KEY:{CANARY}@bucket/prefix",
    "keys of a bucket with a slash": f"s3://KEY:{CANARY}/{TAIL}@bucket/prefix",
    "databricks": f"databricks://{CANARY}@host",
    "databricks with a profile": f"databricks://profile:{CANARY}",
    "unity catalog": f"uc:https://{CANARY}@host",
    "a cluster": f"ray://me:{CANARY}@head:10001",
    "another scheme": f"ftp://me:{CANARY}@host/x",
    "no scheme": f"me:{CANARY}@host:5432/db",
    "one slash": f"https:/me:{CANARY}@host",
    "three slashes": f"https:///me:{CANARY}@host",
    "a broken port": f"http://me:{CANARY}@host:99999/",
    "words of libpq": f"host=db user=me password={CANARY}",
}
"""By what is special about each."""
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AKIA" + "KANARIE5F2D00000",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}/aws",
    "AWS_SESSION_TOKEN": f"{CANARY}-session",
    "MLFLOW_TRACKING_PASSWORD": f"{CANARY}-mlflow",
    "MLFLOW_TRACKING_TOKEN": f"{CANARY}-bearer",
    "RAY_AUTH_TOKEN": f"{CANARY}-ray",
    "AUNET_PW": f"{CANARY}-1",
    "AUNET_AUTH": f"{CANARY}-2",
    "AUNET_APIKEY": f"{CANARY}-3",
    "AUNET_PASSWD": f"{CANARY}-4",
    "AUNET_TOKEN": f"{CANARY}-5",
}
"""Environment variables that are secret by their name."""


def leaks(text: str) -> list[str]:
    """The parts of the secrets above that are in `text`."""
    return [part for part in (CANARY, TAIL, VARIABLES["AWS_ACCESS_KEY_ID"]) if part in text]
