"""A worker of a foreign group: recordings from RabbitMQ in, one feature out.

It tells what it yields, then analyses the recordings whose plan asks for it. A message is acked once its result is
confirmed by the broker, so nothing is lost when this process dies; what comes twice has one effect, because results are
known by their keys. Any number of these may run.

    ANTIPHON_QUEUE__URL=amqp://USER:PASSWORD@HOST:5672/VHOST python worker.py
"""

import base64
import datetime
import io
import logging
import os
import signal
import sys
import time

import pika
import pika.exceptions
import soundfile

import activity
import schema

TOPIC = "recordings"
GROUP = activity.GROUP

# Messages that are held at a time. They come again, to another worker, when this one dies.
PREFETCH = 8
# The broker's names and arguments, as every group of Antiphon has them: docs/guides/workers.md.
DELAYS_MS = [1_000, 5_000, 30_000, 120_000, 600_000]
DELIVERY_LIMIT = 20
ASIDE, BACK, TO = f"antiphon.{GROUP}.aside", f"antiphon.{GROUP}.back", f"antiphon.{TOPIC}.to"
QUEUE, DEAD = f"antiphon.{GROUP}", f"antiphon.{GROUP}.dead"

log = logging.getLogger("worker")


class Unusable(Exception):
    """A message that no attempt will make usable."""


def declare(channel) -> None:
    """Makes the group's queues, and binds them; the same again changes nothing."""
    # Antiphon makes these two when it starts; until then the broker says 404, and we come again.
    channel.exchange_declare(f"antiphon.{TOPIC}", passive=True)
    channel.exchange_declare(TO, passive=True)
    channel.exchange_declare(ASIDE, "topic", durable=True)
    channel.exchange_declare(BACK, "topic", durable=True)

    def queue(name, **arguments):
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", **named})

    moved_on = {"dead_letter_strategy": "at-least-once", "overflow": "reject-publish"}
    queue(DEAD, delivery_limit=1_000_000_000)
    channel.queue_bind(DEAD, ASIDE, "dead")
    channel.queue_bind(DEAD, BACK, "dead.*")
    for step, delay in enumerate(DELAYS_MS, start=1):
        queue(f"{QUEUE}.delay-{step}", message_ttl=delay, dead_letter_exchange=BACK, **moved_on)
        channel.queue_bind(f"{QUEUE}.delay-{step}", ASIDE, f"*.{step}")
    queue(QUEUE, delivery_limit=DELIVERY_LIMIT - 1, dead_letter_exchange=ASIDE, dead_letter_routing_key="dead", **moved_on)
    channel.queue_bind(QUEUE, BACK, "live.*")
    channel.queue_bind(QUEUE, TO, GROUP)
    channel.queue_bind(QUEUE, f"antiphon.{TOPIC}")


def publish(channel, exchange: str, key: str, headers: dict, body: bytes) -> None:
    """Publishes and returns once the broker has confirmed; raises if it has not, or if no queue takes it."""
    properties = pika.BasicProperties(content_type="application/protobuf", delivery_mode=2, headers=headers)
    channel.basic_publish(exchange, key, body, properties, mandatory=True)


def cloud_event(identifier: str, kind: str, source: str) -> dict:
    """The attributes of CloudEvents 1.0 as AMQP headers."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    attributes = {"specversion": "1.0", "id": identifier, "type": kind, "source": source, "time": now}
    return {f"cloudEvents:{name}": value for name, value in attributes.items()}


def tell(channel) -> None:
    """Says what this group yields. Saying the same again has no effect."""
    descriptor = schema.Descriptor()
    activity.describe(descriptor, schema.MOMENTS)
    headers = cloud_event(f"{activity.NAME}/{activity.VERSION}", "antiphon.descriptor.v1", f"groups/{GROUP}")
    publish(channel, "antiphon.descriptors", "", headers, descriptor.SerializeToString())


def analyse(recording) -> bytes:
    """The result of one recording, encoded."""
    try:
        samples, rate = soundfile.read(io.BytesIO(recording.audio), dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise Unusable(f"cannot be decoded: {error.error_string}") from error
    piece = activity.Piece(samples, rate, recording.recording_start, recording.start, recording.lead_in)
    if piece.end <= piece.first_body:
        raise Unusable("there is no audio behind the lead-in")
    result = schema.Result(
        kind=schema.SENSOR,
        # What says whose result this is goes back as it came.
        sensor=recording.sensor,
        id=recording.id,
        recording_start=recording.recording_start,
        accepted_at=recording.accepted_at,
        piece=recording.piece,
        last_piece=recording.last_piece,
        groups=recording.plan.groups,
        plan_version=recording.plan.version,
        fault=recording.fault,
        group=GROUP,
        # All of it is in one part: a partial a second, and no message holds more than two hours.
        part=0,
        parts=1,
        sample_rate=rate,
        channels=samples.shape[1],
    )
    begin, result.to = piece.interval()
    setattr(result, "from", begin)
    activity.add_blocks(result, piece)
    return result.SerializeToString()


def handle(channel, body: bytes) -> None:
    """Analyses a recording and publishes the result; raises Unusable for what can never be."""
    try:
        recording = schema.Recording.FromString(body)
    except Exception as error:
        raise Unusable(f"the message is no recording: {error}") from error
    if len(recording.id) != 20:
        raise Unusable("the message names no recording")
    # Every group gets every recording; only those whose plan names the group expect something of it.
    if GROUP not in recording.plan.groups:
        return
    name = "r" + base64.b32encode(recording.id).decode().lower()
    identifier = f"{name}/{recording.piece}/{GROUP}/{recording.plan.version}/0"
    headers = cloud_event(identifier, "antiphon.result.v1", f"sensors/{recording.sensor}")
    publish(channel, "antiphon.results", "", headers, analyse(recording))


def attempts(properties) -> tuple[int, int]:
    """How often a message was delivered, this time included, and how many delays it has waited for."""
    headers = properties.headers or {}
    again = max(headers.get("x-delivery-count", 0), headers.get("x-acquired-count", 0))
    return headers.get("x-antiphon-deliveries", 0) + again + 1, headers.get("x-antiphon-retries", 0)


def set_aside(channel, properties, body: bytes, reason: str, *, for_good: bool) -> None:
    """Puts a message into the group's dead queue, or lets it wait for its next delay; the last one leads there too."""
    deliveries, retries = attempts(properties)
    kept = ("cloudEvents", "x-antiphon-published")
    headers = {name: value for name, value in (properties.headers or {}).items() if name.startswith(kept)}
    headers["x-antiphon-reason"] = reason
    if for_good or retries >= len(DELAYS_MS) or deliveries >= DELIVERY_LIMIT:
        headers |= {"x-antiphon-death-time": time.time_ns() // 1_000, "x-antiphon-death-deliveries": deliveries}
        publish(channel, ASIDE, "dead", headers, body)
    else:
        headers |= {"x-antiphon-deliveries": deliveries, "x-antiphon-retries": retries + 1}
        publish(channel, ASIDE, f"live.{retries + 1}", headers, body)


def deliver(channel, method, properties, body: bytes) -> None:
    """One delivery: the effect first, then the ack."""
    try:
        handle(channel, body)
    except Unusable as error:
        log.warning("set aside: %s", error)
        set_aside(channel, properties, body, str(error), for_good=True)
    except pika.exceptions.AMQPError:
        # The broker is gone, or took nothing: it comes again with the next connection.
        raise
    except Exception as error:
        log.exception("it is tried again later")
        set_aside(channel, properties, body, f"{type(error).__name__}: {error}", for_good=False)
    channel.basic_ack(method.delivery_tag)


def serve(url: str) -> None:
    """Works as long as the connection lasts."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    declare(channel)
    tell(channel)
    channel.basic_qos(prefetch_count=PREFETCH)
    channel.basic_consume(QUEUE, deliver)
    log.info("%s is ready", GROUP)
    channel.start_consuming()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("pika").setLevel(logging.WARNING)
    url = os.environ.get("ANTIPHON_QUEUE__URL")
    if not url:
        sys.exit("set ANTIPHON_QUEUE__URL to the broker's address: amqp://USER:PASSWORD@HOST:5672/VHOST")
    # What is held when this process ends is given back by the broker.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    pause = 1
    while True:
        begun = time.monotonic()
        try:
            serve(url)
        except (pika.exceptions.AMQPError, OSError) as error:
            log.warning("the broker cannot be used: %r; again in %d s", error, pause)
        pause = 1 if time.monotonic() - begun > 60 else min(2 * pause, 30)
        time.sleep(pause)


if __name__ == "__main__":
    main()
