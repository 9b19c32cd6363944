//! A topic's id and partition count, by `DescribeTopics`.
//!
//! The id tells a topic from another one made later under the same name, and only this request
//! carries it; unlike a metadata request it also never creates the topic it asks for. The safe
//! binding lacks it, hence this module, the only one with unsafe code.
#![expect(
    unsafe_code,
    reason = "rdkafka has no safe binding for DescribeTopics; every pointer is owned by a guard below"
)]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafka, RDKafkaErrorCode};

/// The request fails by itself at its timeout; this much more lets its answer come through.
const PATIENCE: Duration = Duration::from_secs(1);
/// Milliseconds between two looks at whether the brokers let us in at all.
const LOOK_EVERY: i32 = 50;

/// What the brokers say of a topic.
pub(super) struct Description {
    /// The topic's id; absent from brokers older than 2.8.
    pub(super) id: Option<String>,
    /// How many partitions it has.
    pub(super) partitions: i32,
}

/// Asks for one topic. Blocks for at most about `timeout`, and only as long as `hopeful` says so.
///
/// # Errors
/// The code with which the request or the topic failed.
pub(super) fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
    mut hopeful: impl FnMut() -> bool,
) -> Result<Description, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let deadline = Instant::now() + timeout + PATIENCE;
    let timeout = super::milliseconds(timeout);
    let handle = client.native_ptr();
    let options = options(handle, timeout)?;
    // SAFETY: librdkafka copies the one name that the array of length 1 points to.
    let names = own(
        unsafe { sys::rd_kafka_TopicCollection_of_topic_names(&mut name.as_ptr(), 1) },
        sys::rd_kafka_TopicCollection_destroy,
    )?;
    // SAFETY: `handle` lives as long as `client`, which outlives the queue.
    let queue = own(
        unsafe { sys::rd_kafka_queue_new(handle) },
        sys::rd_kafka_queue_destroy,
    )?;
    // SAFETY: all four pointers are alive; the request copies what it needs of them.
    unsafe {
        sys::rd_kafka_DescribeTopics(handle, names.pointer(), options.pointer(), queue.pointer());
    }
    loop {
        // SAFETY: the queue is alive; the event returned is ours to destroy, or null.
        let event = own(
            unsafe { sys::rd_kafka_queue_poll(queue.pointer(), LOOK_EVERY) },
            sys::rd_kafka_event_destroy,
        );
        match event {
            // SAFETY: the event is alive until the end of this arm.
            Ok(event) => return unsafe { read(event.pointer()) },
            Err(nothing) if Instant::now() >= deadline || !hopeful() => return Err(nothing),
            Err(_) => {}
        }
    }
}

/// The options of the request; made with its timeout.
fn options(
    handle: *mut RDKafka,
    timeout: i32,
) -> Result<Owned<sys::rd_kafka_AdminOptions_t>, RDKafkaErrorCode> {
    // SAFETY: `handle` is a live client.
    let options = own(
        unsafe {
            sys::rd_kafka_AdminOptions_new(
                handle,
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            )
        },
        sys::rd_kafka_AdminOptions_destroy,
    )?;
    // SAFETY: the options are alive; a null error buffer of length 0 is allowed.
    let code = unsafe {
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer(),
            timeout,
            std::ptr::null_mut(),
            0,
        )
    };
    accept(code)?;
    Ok(options)
}

/// Copies what is wanted out of the answer.
///
/// # Safety
/// `event` must be a live event; everything read here belongs to it.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Result<Description, RDKafkaErrorCode> {
    // SAFETY: the event is alive (this function's contract); the result, the descriptions, the
    // error and the id are parts of it; counts are written before the arrays are used.
    unsafe {
        accept(sys::rd_kafka_event_error(event))?;
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count != 1 {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            accept(sys::rd_kafka_error_code(error))?;
        }
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        Ok(Description {
            id: id_text(sys::rd_kafka_TopicDescription_topic_id(topic)),
            partitions: i32::try_from(partitions).map_err(|_| RDKafkaErrorCode::BadMessage)?,
        })
    }
}

/// The id in Kafka's own notation; none for null and for the all-zero id of old brokers.
///
/// # Safety
/// `id` must be null or a live id.
unsafe fn id_text(id: *const sys::rd_kafka_Uuid_t) -> Option<String> {
    if id.is_null() {
        return None;
    }
    // SAFETY: the id is alive (this function's contract) and owns the text, which is copied.
    unsafe {
        let zero = sys::rd_kafka_Uuid_most_significant_bits(id) == 0
            && sys::rd_kafka_Uuid_least_significant_bits(id) == 0;
        let text = sys::rd_kafka_Uuid_base64str(id);
        if zero || text.is_null() {
            return None;
        }
        CStr::from_ptr(text).to_str().ok().map(str::to_owned)
    }
}

fn accept(code: sys::rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// A pointer that librdkafka gave us to destroy.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

/// Takes over a pointer; null means that librdkafka had nothing to give in time.
fn own<T>(
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
) -> Result<Owned<T>, RDKafkaErrorCode> {
    NonNull::new(pointer)
        .map(|pointer| Owned { pointer, destroy })
        .ok_or(RDKafkaErrorCode::OperationTimedOut)
}

impl<T> Owned<T> {
    fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the constructor that `destroy` belongs to, and only here.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}
