"""Catalogs as shops export them."""

import gzip
import io

import pytest

from streams.catalog_messages import CatalogItem
from streams.clients.catalog_file import CatalogFile, open_catalog
from streams.clients.log_errors import BadLog, BadRow


def opened(text: str | bytes, **options) -> CatalogFile:
    data = text if isinstance(text, bytes) else text.encode()
    return open_catalog(io.BytesIO(data), **options)


def test_googles_product_data():
    """The attributes and formats of support.google.com/merchants/answer/7052112."""
    feed = (
        "id\ttitle\tdescription\tlink\timage_link\tavailability\tprice\tbrand\titem_group_id\tproduct_type\tadult\n"
        "A2B4\tMens Pique Polo\tMade of cotton.\thttps://a.example\thttps://a.example/i.jpg\tin_stock"
        "\t15.00 USD\tFjell\tAB12\tHome > Women > Dresses\tno\n"
        "A2B5\tAnother\t\t\t\tout_of_stock\t\t\t\t\t\n"
    )
    file = opened(feed)
    assert list(file) == [
        CatalogItem(
            item="A2B4", title="Mens Pique Polo", text="Made of cotton.", image="https://a.example/i.jpg",
            price=15.0, currency="USD", brand="Fjell", group="AB12", categories=["Home/Women/Dresses"],
        ),
        CatalogItem(item="A2B5", title="Another", available=False),
    ]  # fmt: skip
    assert file.unused == ["link"]


def test_json_lines_keep_their_types_and_columns_may_be_inside_objects():
    lines = (
        '{"sku": 7, "name": "Tent", "stock": 0, "seo": {"keywords": ["a", "b"]}, "emb": [0.5, 1], "w": 3}\n'
        '{"sku": "b", "attributes": {"x": 1}, "from": "2026-01-31T12:00:00Z", "until": 1893456000}\n'
    )
    columns = {"tags": "seo.keywords", "title": "name"}
    file = opened(gzip.compress(lines.encode()), columns=columns, attributes=["w"], vectors=["emb"])
    assert list(file) == [
        CatalogItem(
            item="7", title="Tent", available=False, tags=["a", "b"], attributes={"w": 3},
            vectors={"emb": [0.5, 1]},
        ),
        CatalogItem(item="b", attributes={"x": 1}, since=1769860800000, until=1893456000000),
    ]  # fmt: skip
    assert file.unused == []


def test_an_item_on_the_topic_is_read_as_it_was():
    line = (
        '{"item":"a","title":"T","categories":["x/y"],"available":false,'
        '"vectors":{"image":[1,2]},"adult":true}\n'
    )
    assert list(opened(line)) == [
        CatalogItem(
            item="a", title="T", categories=["x/y"], available=False, vectors={"image": [1, 2]}, adult=True
        )
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("a,free,1", "line 2: invalid price 'free': expected a number such as 249.00, or 249.00 EUR"),
        ("a,1,maybe", "line 2: invalid availability 'maybe'"),
        (",1,1", "line 2: has no item"),
        (f"{'x' * 300},1,1", "line 2: out-of-range: Expected `str` of length <= 256"),
        ("a,1", "line 2: has 2 cells, expected 3"),
        ("a,-1,1", "line 2: invalid price '-1'"),
    ],
)
def test_a_row_that_is_not_an_item_is_refused_with_its_place(cells, reason):
    bad: list[BadRow] = []
    rows = list(opened(f"item,price,available\n{cells}\nb,2,1\n", on_bad=bad.append))
    assert [str(row)[: len(reason)] for row in bad] == [reason]
    assert [item.item for item in rows] == ["b"]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("", {}, "is empty"),
        ("name,price\nT,1\n", {}, "has no column for the item: name it with --item; it has name, price"),
        ("id,price\nT,1\n", {"columns": {"title": "nothing"}}, "has no column nothing"),
        ("id,price\nT,1\n", {"attributes": ["colour"]}, "has no column colour"),
        ("id,id\nT,1\n", {}, "has two columns id"),
        ("T,1\n", {"names": ["item"]}, "has 2 cells in its first line, and --columns names 1"),
        ('[{"id": 1}]', {}, "is one JSON array"),
        ("{not json}\n", {}, "is not valid JSON lines: line 1"),
    ],
)
def test_a_file_that_is_not_a_catalog_says_why(text, options, reason):
    with pytest.raises(BadLog, match=reason.replace("[", r"\[")):
        opened(text, **options)


def test_a_table_without_a_header():
    (item,) = opened("7|x|Tent\n", names=["item", "-", "title"])
    assert item == CatalogItem(item="7", title="Tent")
