import pytest

from imgmig_dagster.drafting.drafted_names import attributes, camel_case, entity, says_created, says_modified, says_time


@pytest.mark.parametrize(
    ("column", "attribute"),
    [
        ("user_id", "userId"),
        ("ownerId", "ownerId"),
        ("OwnerID", "ownerId"),
        ("_file_type_plugin_name", "fileTypePluginName"),
        ("File Name", "fileName"),
        ("size.bytes", "sizeBytes"),
        ("share %", "share"),
        ("URL", "url"),
        ("HTMLBody", "htmlBody"),
        ("sizes_og_width", "sizesOgWidth"),
        ("s3_key", "s3Key"),
        ("fileid", "fileid"),
        ("größe", "größe"),
        ("%", "%"),
        ("select", "select"),
    ],
)
def test_an_attribute_is_in_camel_case(column: str, attribute: str) -> None:
    assert camel_case(column) == attribute


def test_no_two_columns_become_one_attribute_and_none_takes_a_keys_name() -> None:
    found = attributes(["owner_id", "ownerId", "id", "PK", "pk"], taken=["PK", "id"])

    assert found == {"owner_id": "ownerId", "ownerId": "ownerId2", "id": "id2", "PK": "pk", "pk": "pk2"}


@pytest.mark.parametrize(
    ("table", "singular"),
    [
        ("images", "image"),
        ("media_attachments", "media_attachment"),
        ("media", "media"),
        ("asset_exif", "asset_exif"),
        ("galleries", "gallery"),
        ("addresses", "address"),
        ("status", "status"),
        ("boxes", "box"),
        ("My Photos", "my_photo"),
        ("uploads_9ba88c4165", "uploads_9ba88c4165"),
        ("%", "row"),
    ],
)
def test_an_entity_is_one_row(table: str, singular: str) -> None:
    assert entity(table) == singular


@pytest.mark.parametrize(
    ("name", "created", "modified", "time"),
    [
        ("created_at", True, False, True),
        ("createdAt", True, False, True),
        ("created", True, False, True),
        ("date_created", True, False, True),
        ("inserted_at", True, False, True),
        ("uploaded_on", True, False, True),
        ("published_at", True, False, True),
        ("created_ts", True, False, True),
        ("creation_time", True, False, True),
        ("updated_at", False, True, True),
        ("modified_on", False, True, True),
        ("last_modified", False, True, True),
        ("updation_time", False, True, True),
        ("mtime", False, True, True),
        ("fileCreatedAt", False, False, True),
        ("file_updated_at", False, False, True),
        ("storage_mtime", False, False, True),
        ("last_access_ts", False, False, True),
        ("created_by", False, False, False),
        ("created_by_user_id", False, False, False),
        ("size_bytes", False, False, False),
        ("", False, False, False),
    ],
)
def test_what_a_columns_name_says(name: str, created: bool, modified: bool, time: bool) -> None:
    assert (says_created(name), says_modified(name), says_time(name)) == (created, modified, time)
