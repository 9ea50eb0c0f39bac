//! Captures: live traffic written down, one JSON object a line, to write a profile by.
//!
//! ```text
//! {"session":"3f9ac2d1.1","at":12,"event":"attach","epoch":1}
//! {"session":"3f9ac2d1.1","at":14,"from":"client","text":"{\"type\":\"init\"}"}
//! {"session":"3f9ac2d1.1","at":15,"from":"server","base64":"AQL/"}
//! {"session":"3f9ac2d1.1","at":90,"event":"detach","epoch":1,"code":1001}
//! ```
//!
//! `session` is the short hash that the log has, and which session of the recording it is; `at` is in milliseconds since
//! the recording began. A request that a profile gave another id upstream has that too, as `asked`. The messages are whole, in the order in which sessmux took them and in clear; what sessmux says
//! itself is not among them. [`mod@line`] has the format, [`recorder`] writes it, [`reader`] reads it.

pub mod line;
pub mod reader;
pub mod recorder;

pub use line::{Event, Line, What};
pub use reader::{Fault, read};
pub use recorder::{Recorder, Recording, Tape};
