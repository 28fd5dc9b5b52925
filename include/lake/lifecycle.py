"""What the bucket does by itself with age: raw objects become cheaper, then go; results of queries go.

Rules of other people in the same bucket stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from include.aws import client
from include.errors import ConfigError
from include.lake.objects import RAW
from include.settings import PREFIX, Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef

RESULTS: Final = "athena/"
_OURS: Final = "quantstream-"
_RESULTS_DAYS: Final = 7
_OLD_VERSION_DAYS: Final = 7  # of a Parquet file, where the bucket keeps versions
_AWS_LEAST_DAYS: Final = 30  # before infrequent access, and there before Glacier


def apply_lifecycle(settings: Settings) -> bool:
    """Set the bucket's rules as the settings say; whether they were other before.

    Raises ConfigError for settings that S3 does not take, botocore's errors if it does not answer or refuses.
    """
    s3, wanted = client(settings, "s3"), rules(settings)
    there = _there(s3, settings.bucket)
    others = [rule for rule in there if not rule.get("ID", "").startswith(_OURS)]
    if sorted(map(_known, there), key=str) == sorted(map(_known, [*others, *wanted]), key=str):
        return False
    s3.put_bucket_lifecycle_configuration(
        Bucket=settings.bucket,
        LifecycleConfiguration={"Rules": [*others, *wanted]},  # type: ignore[list-item]  # as it was read
    )
    return True


def rules(settings: Settings) -> list[dict[str, Any]]:
    """Our rules, as S3 takes them. Raises ConfigError naming the setting that does not fit."""
    cold, frozen, end = settings.lake_infrequent_days, settings.lake_glacier_days, settings.lake_expire_days
    if cold and cold < _AWS_LEAST_DAYS:
        raise ConfigError(
            f"{PREFIX}LAKE_INFREQUENT_DAYS = {cold}: S3 moves objects to infrequent access after "
            f"{_AWS_LEAST_DAYS} days at the earliest (0: never)"
        )
    if cold and frozen and frozen < cold + _AWS_LEAST_DAYS:
        raise ConfigError(
            f"{PREFIX}LAKE_GLACIER_DAYS = {frozen}: it must be {_AWS_LEAST_DAYS} days after "
            f"{PREFIX}LAKE_INFREQUENT_DAYS = {cold} at the earliest (0: never)"
        )
    if end and end <= max(cold, frozen):
        raise ConfigError(
            f"{PREFIX}LAKE_EXPIRE_DAYS = {end}: it must be later than the last move of the objects, after "
            f"{max(cold, frozen)} days (0: kept for ever)"
        )
    moves = [{"Days": days, "StorageClass": to} for days, to in ((cold, "STANDARD_IA"), (frozen, "GLACIER")) if days]
    raw = ({"Transitions": moves} if moves else {}) | ({"Expiration": {"Days": end}} if end else {})
    return [
        *([_rule("raw", RAW) | raw] if raw else []),
        _rule("athena", RESULTS) | {"Expiration": {"Days": _RESULTS_DAYS}},
        _rule("parquet", "parquet/") | {"NoncurrentVersionExpiration": {"NoncurrentDays": _OLD_VERSION_DAYS}},
    ]


def _rule(name: str, prefix: str) -> dict[str, Any]:
    return {"ID": f"{_OURS}{name}", "Filter": {"Prefix": prefix}, "Status": "Enabled"}


def _there(s3: S3Client, bucket: str) -> list[LifecycleRuleOutputTypeDef]:
    from botocore.exceptions import ClientError

    try:
        return s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
            return []
        raise


def _known(rule: Any) -> dict[str, Any]:
    """What a rule says, in an order that can be compared."""
    return {key: rule[key] for key in sorted(rule)}
