//! A group of somebody else takes part: it tells what it yields, analyses what a plan asks of it, and is queried.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod world;

use std::sync::Arc;

use antiphon_analysis::ids::{RecordingId, result_message};
use antiphon_analysis::messages::descriptor_output::Kind;
use antiphon_analysis::messages::{self, Aggregate, Descriptor, DescriptorOutput, Partial};
use antiphon_analysis::topics;
use antiphon_platform::clock::SECOND;
use antiphon_platform::queue::files::FileQueue;
use antiphon_platform::queue::{Access, Consumer, Delivery, Group, Message, Queue};
use prost::Message as _;
use serde_json::{Value, json};
use world::{NOW, World, at, eventually, wav_file};

const BIRDS: Group = Group { name: "x-birds", topic: topics::RECORDINGS };

/// A program of somebody else, with a handle of the queue that may do what such a program may.
struct Birds {
    queue: Arc<dyn Queue>,
}

impl Birds {
    async fn new(world: &World) -> Self {
        let access =
            Access { publish: vec![topics::DESCRIPTORS, topics::RESULTS], consume: vec![BIRDS], ..Access::default() };
        let queue = FileQueue::open(&world.folder.path().join("queue"), access, world.clock.clone()).await.unwrap();
        Self { queue: Arc::new(queue) }
    }

    async fn tell(&self, descriptor: &Descriptor) {
        let id = format!("{}/{}", descriptor.name, descriptor.version);
        let message = message(&id, "antiphon.descriptor.v1", descriptor.encode_to_vec());
        self.queue.publish(topics::DESCRIPTORS, vec![message]).await.unwrap();
    }

    async fn consumer(&self) -> Box<dyn Consumer> {
        self.queue.consume(BIRDS, 8).await.unwrap()
    }

    async fn publish(&self, result: &messages::Result) {
        let id = RecordingId::try_from(result.id.as_ref()).unwrap().to_string();
        let id = result_message(&id, result.piece, &result.group, result.plan_version, result.part);
        let message = message(&id, "antiphon.result.v1", result.encode_to_vec());
        self.queue.publish(topics::RESULTS, vec![message]).await.unwrap();
    }
}

fn message(id: &str, kind: &str, body: Vec<u8>) -> Message {
    Message {
        id: id.to_owned(),
        kind: kind.to_owned(),
        source: String::from("birds"),
        time: NOW,
        trace: String::new(),
        body: body.into(),
    }
}

fn descriptor(version: u32) -> Descriptor {
    let output = |name: &str, kind: Kind| DescriptorOutput {
        name: name.to_owned(),
        title: String::from("For tests"),
        unit: String::from("1"),
        kind: Some(kind),
        ..DescriptorOutput::default()
    };
    let series = |dimensions, aggregate: Aggregate, layer: &str| {
        let layer = layer.to_owned();
        Kind::Series(messages::DescriptorSeries { dimensions, aggregate: aggregate as i32, layer, stats: Vec::new() })
    };
    Descriptor {
        name: String::from("x-birds.activity"),
        version,
        title: String::from("How much birds sing"),
        outputs: vec![
            output("index", series(1, Aggregate::Moments, "main")),
            output("bands", series(2, Aggregate::Maximum, "main")),
            output("call", Kind::Annotation(messages::DescriptorAnnotation { minimum: 100_000 })),
        ],
        parameters: vec![messages::DescriptorParameter {
            name: String::from("threshold"),
            maximum: 1.0,
            standard: 0.5,
            ..messages::DescriptorParameter::default()
        }],
        ..Descriptor::default()
    }
}

/// What a recording was found to hold: a partial for each second.
fn result_of(delivery: &Delivery, version: u32, partials: Vec<Partial>) -> messages::Result {
    let recording = messages::Recording::decode(delivery.message.body.clone()).unwrap();
    let plan = recording.plan.unwrap();
    let algorithm = String::from("x-birds.activity");
    let minute = recording.start.div_euclid(60 * SECOND);
    messages::Result {
        kind: messages::SourceKind::Sensor as i32,
        sensor: recording.sensor,
        id: recording.id,
        recording_start: recording.recording_start,
        accepted_at: recording.accepted_at,
        piece: recording.piece,
        last_piece: recording.last_piece,
        group: String::from("x-birds"),
        groups: plan.groups,
        plan_version: plan.version,
        part: 0,
        parts: 1,
        from: recording.start,
        to: recording.start + 2_500_000,
        annotations: vec![messages::Annotation {
            algorithm: algorithm.clone(),
            version,
            r#type: String::from("x-birds.activity.call"),
            label: String::from("robin"),
            from: recording.start,
            to: recording.start + 250_000,
            confidence: Some(0.75),
            ..messages::Annotation::default()
        }],
        blocks: vec![messages::Block {
            algorithm,
            version,
            layer: String::from("main"),
            minute,
            partials,
            ..messages::Block::default()
        }],
        ..messages::Result::default()
    }
}

/// `count` values with their mean, and the largest of two bands.
fn partial(second: u32, from: u32, count: u64, mean: f32, bands: [f32; 2]) -> Partial {
    let values = vec![mean, 0.25, mean - 0.5, mean + 0.5, bands[0], bands[1]];
    Partial { second, from, to: 1_000_000, count, values }
}

/// Tells of the algorithm, and makes a sensor `roof` whose plan has it.
async fn prepared(world: &World) -> Birds {
    world.start();
    let birds = told(world).await;
    let mut sensor = plan(json!({"threshold": 0.25}));
    sensor["id"] = json!("roof");
    world.send("POST", "/api/v1/sensors", sensor).await.expect(201);
    birds
}

/// Tells of the algorithm.
async fn told(world: &World) -> Birds {
    let birds = Birds::new(world).await;
    birds.tell(&descriptor(1)).await;
    eventually("the algorithm is known", || async {
        world.get("/api/v1/algorithms/x-birds.activity").await.status == 200
    })
    .await;
    birds
}

fn plan(parameters: Value) -> Value {
    json!({"plan": [{"algorithm": "level"}, {"algorithm": "x-birds.activity", "parameters": parameters}]})
}

/// Sends 2.5 s of audio that begin at the half of a second; its id.
async fn accepted(world: &World) -> String {
    let answer = world.post("roof", &at(NOW - 4 * SECOND + 500_000), "0", wav_file(8_000, 1, 2.5)).await.expect(202);
    answer["id"].as_str().unwrap().to_owned()
}

fn range(rest: &str) -> String {
    format!("/api/v1/sensors/roof/{rest}&from={}&to={}", at(NOW - 10 * SECOND), at(NOW))
}

async fn csv(world: &World, query: &str) -> String {
    let answer = world.get(&range(&format!("features?format=csv&{query}"))).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    String::from_utf8(answer.body).unwrap()
}

async fn dead_letters(world: &World) -> Vec<Value> {
    world.get("/api/v1/dead-letters").await.expect(200)["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_feature_is_asked_for_and_queried_beside_ours() {
    let world = World::new().await;
    let birds = prepared(&world).await;
    let mut consumer = birds.consumer().await;
    let id = accepted(&world).await;
    let delivery = consumer.next().await.unwrap();
    let recording = messages::Recording::decode(delivery.message.body.clone()).unwrap();
    let asked = recording.plan.unwrap();
    assert_eq!(asked.groups, ["analyze", "x-birds"]);
    assert_eq!(
        (asked.items[1].algorithm.as_str(), asked.items[1].parameters.as_str()),
        ("x-birds.activity", r#"{"threshold":0.25}"#)
    );
    assert_eq!(delivery.message.id, id);

    // Ours is visible although the recording is not stored: the foreign group is still to come.
    eventually("our results are stored", || async { csv(&world, "resolution=1s").await.lines().count() == 4 }).await;
    assert_eq!(world.get(&format!("/api/v1/recordings/{id}")).await.expect(200)["status"], "accepted");

    let partials = vec![
        partial(6, 500_000, 5, 1.0, [0.5, 8.0]),
        partial(7, 0, 10, 2.0, [0.25, f32::NAN]),
        partial(8, 0, 10, 4.0, [0.75, 2.0]),
    ];
    birds.publish(&result_of(&delivery, 1, partials)).await;
    delivery.ack().await.unwrap();
    assert_eq!(world.settled(&id).await["status"], "stored");

    let table = csv(&world, "features=level.a,x-birds.activity&resolution=1s&stat=mean,max").await;
    let mut lines = table.lines();
    let header = "time,coverage,level.a:max,x-birds.activity.index,x-birds.activity.index:max,\
                  x-birds.activity.bands.0,x-birds.activity.bands.1";
    assert_eq!(lines.next().unwrap(), header);
    let foreign: Vec<Vec<&str>> = lines.map(|line| line.split(',').skip(3).collect()).collect();
    assert_eq!(foreign, [["1", "1.5", "0.5", "8"], ["2", "2.5", "0.25", ""], ["4", "4.5", "0.75", "2"]]);
    // Means are weighed by the number of values: (5 x 1 + 10 x 2 + 10 x 4) / 25.
    let table = csv(&world, "features=x-birds&resolution=1m").await;
    assert_eq!(table.lines().nth(1).unwrap().split(',').skip(1).collect::<Vec<_>>()[1..], ["2.6", "0.75", "8"]);
    let json =
        world.get(&range("features?features=x-birds.activity.index&stat=stddev&resolution=1s")).await.expect(200);
    assert_eq!(json["columns"][2]["name"], "x-birds.activity.index:stddev");
    assert_eq!((&json["columns"][2]["version"], &json["rows"][0][2]), (&json!(1), &json!(0.5)));

    let calls = world.get(&range("annotations?types=x-birds.activity.call")).await.expect(200);
    assert_eq!(calls["items"].as_array().unwrap().len(), 1);
    assert_eq!((&calls["items"][0]["label"], &calls["items"][0]["confidence"]), (&json!("robin"), &json!(0.75)));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_algorithms_are_listed_and_checked_as_ours_are() {
    let world = World::new().await;
    world.start();
    world.sensor("roof").await;
    world.send("PATCH", "/api/v1/sensors/roof", plan(json!({}))).await.refused(400, Some("plan"));
    let birds = told(&world).await;
    world.send("PATCH", "/api/v1/sensors/roof", plan(json!({}))).await.expect(200);
    let listed = world.get("/api/v1/algorithms").await.expect(200);
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    let ours = antiphon_features::registry().iter().map(|found| found.name);
    assert_eq!(names, ours.chain(["x-birds.activity"]).collect::<Vec<_>>());
    let one = world.get("/api/v1/algorithms/x-birds.activity").await.expect(200);
    assert_eq!((&one["family"], &one["version"]), (&json!("x-birds"), &json!(1)));
    let outputs: Vec<(&Value, &Value)> =
        one["outputs"].as_array().unwrap().iter().map(|output| (&output["name"], &output["stats"])).collect();
    assert_eq!(
        outputs,
        [
            (&json!("x-birds.activity.index"), &json!(["mean", "stddev", "min", "max"])),
            (&json!("x-birds.activity.bands"), &json!(["max"])),
            (&json!("x-birds.activity.call"), &json!([])),
        ]
    );
    let missing = world.get("/api/v1/algorithms/x-birds.actvity").await.refused(404, None);
    assert_eq!(missing["hint"], "x-birds.activity");
    let wrong = world.get(&range("features?features=x-birds.activity.indx")).await.refused(400, Some("features"));
    assert_eq!(wrong["hint"], "x-birds.activity.index");
    let wrong = world.get(&range("features?features=x-birds.activity.index&stat=l90")).await;
    wrong.refused(400, Some("stat"));
    world.get(&range("annotations?types=x-birds.activity.cal")).await.refused(400, Some("types"));
    for parameters in [json!({"treshold": 1}), json!({"threshold": 2})] {
        world.send("PATCH", "/api/v1/sensors/roof", plan(parameters)).await.refused(400, Some("plan"));
    }
    let frames = json!({"plan": [{"algorithm": "x-birds.activity", "frames": true}]});
    world.send("PATCH", "/api/v1/sensors/roof", frames).await.refused(400, Some("plan"));

    // The same again has no effect; the same version with another shape is refused, the next version is not.
    birds.tell(&descriptor(1)).await;
    let mut changed = descriptor(1);
    changed.outputs.pop();
    birds.tell(&changed).await;
    eventually("the changed one is a dead letter", || async { dead_letters(&world).await.len() == 1 }).await;
    let reason = dead_letters(&world).await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("says something else; raise the version"), "{reason}");
    changed.version = 2;
    birds.tell(&changed).await;
    eventually("the next version is known", || async {
        world.get("/api/v1/algorithms/x-birds.activity").await.expect(200)["version"] == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_does_not_fit_is_a_dead_letter_and_one_that_came_too_early_is_not() {
    let world = World::new().await;
    let birds = prepared(&world).await;
    let mut consumer = birds.consumer().await;
    let id = accepted(&world).await;
    let delivery = consumer.next().await.unwrap();
    let good = || result_of(&delivery, 1, vec![partial(6, 500_000, 5, 1.0, [0.5, 8.0])]);
    type Break = fn(&mut messages::Result);
    let cases: [(&str, Break); 9] = [
        ("another number of values", |it| it.blocks[0].partials[0].values.truncate(5)),
        ("below 0", |it| it.blocks[0].partials[0].values[1] = -1.0),
        ("infinite", |it| it.blocks[0].partials[0].values[4] = f32::INFINITY),
        ("of no values", |it| it.blocks[0].partials[0].count = 0),
        ("inside its second", |it| it.blocks[0].partials[0].to = 1_000_001),
        ("do not rise", |it| it.blocks[0].partials[0].second = 60),
        ("no layer", |it| it.blocks[0].layer = String::from("other")),
        ("no annotation of the type", |it| it.annotations[0].r#type = String::from("call")),
        ("no algorithm of the group", |it| it.annotations[0].algorithm = String::from("silence")),
    ];
    for (number, (expected, break_it)) in cases.iter().enumerate() {
        let mut broken = good();
        break_it(&mut broken);
        // A letter is known by what died when.
        world.clock.advance(SECOND / 1_000);
        birds.publish(&broken).await;
        eventually(expected, || async { dead_letters(&world).await.len() == number + 1 }).await;
        let letters = dead_letters(&world).await;
        let is_there = letters.iter().any(|letter| letter["reason"].as_str().unwrap().contains(expected));
        assert!(is_there, "{expected}: {letters:?}");
    }

    // The result of a version that nobody told of waits for its descriptor.
    let mut next = descriptor(2);
    next.title = String::from("How much birds sing, done better");
    let mut early = good();
    early.blocks[0].version = 2;
    early.annotations[0].version = 2;
    birds.publish(&early).await;
    eventually("it is to come again", || async {
        let depths = world.queue.depths().await.unwrap();
        depths.iter().any(|depth| depth.group == "write" && depth.waiting == 1 && depth.in_flight == 0)
    })
    .await;
    birds.tell(&next).await;
    eventually("the next version is known", || async {
        world.get("/api/v1/algorithms/x-birds.activity").await.expect(200)["version"] == 2
    })
    .await;
    world.clock.advance(2 * SECOND);
    eventually("it is stored", || async {
        csv(&world, "features=x-birds.activity.index&resolution=1s").await.lines().any(|line| line.ends_with(",1"))
    })
    .await;
    assert_eq!(dead_letters(&world).await.len(), cases.len());
    assert_eq!(world.settled(&id).await["status"], "stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_group_sets_aside_fails_the_recording_and_can_be_replayed_to_it_alone() {
    let world = World::new().await;
    let birds = prepared(&world).await;
    let mut consumer = birds.consumer().await;
    let id = accepted(&world).await;
    let delivery = consumer.next().await.unwrap();
    delivery.dead("a robin sat on the microphone").await.unwrap();
    let failed = world.settled(&id).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("a robin sat on the microphone")));
    let letters = dead_letters(&world).await;
    assert_eq!((letters.len(), &letters[0]["group"]), (1, &json!("x-birds")));
    let replay = format!("/api/v1/dead-letters/{}/replay", letters[0]["id"].as_str().unwrap());
    world.send("POST", &replay, json!({})).await.expect(202);
    let delivery = consumer.next().await.unwrap();
    birds.publish(&result_of(&delivery, 1, vec![partial(6, 500_000, 5, 1.0, [0.5, 8.0])])).await;
    delivery.ack().await.unwrap();
    assert_eq!(world.settled(&id).await["status"], "stored");
    assert!(dead_letters(&world).await.is_empty());
}
