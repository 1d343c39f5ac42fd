"""The command that publishes the shop's items: catalog."""

from typing import TYPE_CHECKING

import click

from streams.cli.connection import connect
from streams.cli.event_log import Remarks, SkippedRows, log_file, refuse_row
from streams.cli.options import (
    brokers,
    column_options,
    delimiter_option,
    examples,
    on_error_option,
    options,
)
from streams.cli.types import COLUMNS, ENCODER
from streams.errors import INTERRUPTED
from streams.printable import printable

if TYPE_CHECKING:
    from streams.clients.catalog_file import CatalogFile

_COLUMNS = {
    "item": "the item id",
    "title": "the title",
    "text": "the description",
    "categories": "the categories: paths such as Outdoor/Tents, with | between them",
    "brand": "the brand",
    "author": "the author",
    "price": "the price: 249.00, or 249.00 EUR",
    "currency": "the currency",
    "available": "the availability: true, false, in stock, out of stock, or the number in stock",
    "from": "the time from which on the item may be recommended",
    "until": "the time from which on it may not",
    "group": "the product of which the item is a variant",
    "tags": "the tags, with | between them",
    "image": "the address of a picture",
    "adult": "whether the item is for adults only",
}
table_options = options(
    click.option(
        "--attribute", "attributes", metavar="COLUMN", multiple=True, help="Attribute column; repeatable."
    ),
    click.option(
        "--vector", "vectors", metavar="COLUMN", multiple=True, help="Column with a vector; repeatable."
    ),
    click.option(
        "--encode",
        "encoders",
        type=ENCODER,
        metavar="NAME=ENCODER",
        multiple=True,
        help="Make the vector NAME of each item's texts, with wordllama, or with the ONNX model in a folder.",
    ),
    click.option(
        "--columns",
        "names",
        type=COLUMNS,
        metavar="NAME,...",
        help="Names of all columns, of a table without a header; - where one is not read.",
    ),
    delimiter_option,
    on_error_option,
)


@click.command(
    epilog=examples(
        "freshet catalog products.csv",
        "freshet catalog products.jsonl.gz --item sku --text body_html --attribute colour",
        "freshet catalog products.csv --withdraw-missing",
        "freshet catalog products.csv --encode words=wordllama",
    )
)
@log_file
@column_options(_COLUMNS)
@table_options
@brokers
@click.option(
    "--withdraw-missing",
    is_flag=True,
    help="Withdraw published items that FILE lacks, and publish only what changed.",
)
@click.option("--withdraw-most", is_flag=True, help="The same, also if FILE lacks most of them.")
def catalog(
    file: str,
    columns: dict[str, str | None],
    attributes: tuple[str, ...],
    vectors: tuple[str, ...],
    encoders: tuple[tuple[str, str], ...],
    names: list[str] | None,
    delimiter: str | None,
    on_error: str,
    brokers: str | None,
    withdraw_missing: bool,
    withdraw_most: bool,
) -> int:
    """Publish the shop's items.

    FILE is a table such as CSV, or JSON lines, .gz or not; - is stdin.  Columns are found by common names,
    such as those of Google's product data.  Once there is a catalog, only what is in it and available is
    recommended.
    """
    from streams.clients.catalog import CatalogProducer, missing, publish_items, published
    from streams.clients.catalog_file import open_catalog
    from streams.clients.log_errors import BadLog
    from streams.clients.progress import progress
    from streams.clients.text_encoders import encoded, load_encoder

    encode = {name: load_encoder(encoder) for name, encoder in encoders}
    settings = connect(brokers, "catalog")
    skipped, remarks = SkippedRows("items"), Remarks()
    withdraw = withdraw_missing or withdraw_most
    try:
        opened = open_catalog(
            file,
            columns=columns,
            attributes=attributes,
            vectors=vectors,
            names=names,
            delimiter=delimiter,
            on_bad=skipped if on_error == "skip" else refuse_row,
            remark=remarks,
        )
        click.echo(printable(_summary(file, opened)), err=True)
        remarks.begin()
        known = published(settings) if withdraw else {}
        producer, lacking = CatalogProducer(settings), []
        try:
            with progress(opened.fraction) as show:
                items = encoded(opened, encode) if encode else opened
                ids = publish_items(items, producer, show, known)
                if withdraw and not skipped.rows:
                    lacking = missing(known, ids, withdraw_most)
                    for item in lacking:
                        producer.send(item, None)
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            producer.flush()
            done = f"{producer.delivered - len(lacking):,} items published, {len(lacking):,} withdrawn"
            click.echo(f"{done}, {producer.failed:,} not delivered")
    except BadLog as error:
        raise click.ClickException(f"{file} {error}") from None
    except TimeoutError as error:
        raise click.ClickException(str(error)) from None
    if producer.failed:
        raise click.ClickException(f"{producer.failed:,} records were not delivered: {producer.reason}")
    if not ids:
        raise click.ClickException(f"{file} has no row that is a valid item")
    if withdraw and skipped.rows:
        raise click.ClickException("nothing was withdrawn, because rows were skipped")
    return 0


def _summary(file: str, opened: "CatalogFile") -> str:
    line = f"reading {file}: " + " ".join(f"{field}={column}" for field, column in opened.columns.items())
    return line + (f"; not used: {', '.join(opened.unused)}" if opened.unused else "")
