//! What the demo agent says, whatever it is asked.

/// Name of the pretend tool.
pub(super) const TOOL: &str = "shell";
/// What the pretend tool is asked to run.
pub(super) const COMMAND: &str = "rm -rf build/";
/// What the pretend tool prints.
pub(super) const OUTPUT: &str = "removed build/ (412 files, 38 MB)";

/// Said before the tool call.
pub(super) const PLAN: &str = "Let me look at the project first. The build directory holds objects from an older \
    compiler, and two of them no longer match their sources, which explains the link error you saw. Nothing in it is \
    under version control, so it can be rebuilt from scratch. The clean way is to remove the directory and build \
    again. Removing files is something you should agree to, so I am asking before I go on.";
/// Said after the tool ran.
pub(super) const DONE: &str = "Done. The directory is gone, and the new build finished without warnings. The link \
    error does not come back: both objects were compiled afresh and now agree with their headers. You may want to add \
    the compiler's version to the cache key, so that this cannot happen again.";
/// Said after the tool was denied.
pub(super) const DENIED: &str = "All right, I leave the directory as it is. You could also delete the two stale \
    objects by hand; the next build then compiles only those.";
