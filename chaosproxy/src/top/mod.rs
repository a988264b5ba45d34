//! `chaosproxy top`: what a running server is doing, in a terminal, again and again. One reading is what the API says at
//! a moment (`reading`), a page is what two of them make (`page`, pure); here they are taken and shown.

mod keyboard;
mod page;
mod reading;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use thiserror::Error;

use crate::ask::{self, AskError, Server};
use crate::token::Token;
use keyboard::Keyboard;
use page::Size;
use reading::Reading;

/// A server that takes longer than this for an answer is busy with something worth knowing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a terminal that does not say.
const USUAL: Size = Size { columns: 120, lines: 40 };
/// The cursor at the upper left, and everything below it gone.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum TopError {
    /// The URL is none, or nobody answers there.
    #[error("{0}")]
    Ask(String),
    /// It wants a token, or another one.
    #[error("{0}; name its file by -token-file or CHAOSPROXY_TOKEN_FILE")]
    Token(String),
    /// What answers is no chaosproxy.
    #[error("GET {path}: {reason}; is this the API of a chaosproxy? Toxiproxy has no such route")]
    Answer {
        /// What was asked for.
        path: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The terminal is gone.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<AskError> for TopError {
    fn from(error: AskError) -> Self {
        Self::Ask(error.to_string())
    }
}

/// The server that is looked at: the one that is named, or that of `TOXIPROXY_URL`, or the one on the usual port.
pub fn server(named: Option<String>) -> String {
    ask::server(named)
}

/// Shows the server at `url`, which is shown `token`, every `interval`, until `q` or Ctrl-C is typed or the terminal is
/// closed. Where standard output is no terminal, or for `once`, one page is printed: of two readings an interval apart,
/// so that there are rates.
///
/// # Errors
/// Nobody answers at `url`, or not as a chaosproxy does.
pub fn run(url: &str, token: Option<Token>, interval: Duration, once: bool) -> Result<(), TopError> {
    let server = Server::of(url, token, PATIENCE)?;
    let lives = io::stdout().is_terminal() && !once;
    let mut before = Reading::take(&server)?;
    let _usual_again_at_the_end = lives.then(Keyboard::watch);
    loop {
        std::thread::sleep(interval);
        let now = Reading::take(&server)?;
        let size = if lives { terminal() } else { Size { lines: usize::MAX, ..room() } };
        let page = page::of(url, &before, &now, size);
        let mut output = io::stdout().lock();
        if lives {
            output.write_all(CLEAR.as_bytes())?;
        }
        output.write_all(page.as_bytes()).and_then(|()| output.flush())?;
        if !lives {
            return Ok(());
        }
        before = now;
    }
}

/// For a page that is printed once: a pipe takes lines of any length, unless somebody says otherwise.
fn room() -> Size {
    if io::stdout().is_terminal() {
        return terminal();
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    Size { columns: columns.filter(|columns| *columns > 0).unwrap_or(usize::MAX), ..USUAL }
}

fn terminal() -> Size {
    let Ok(size) = tcgetwinsize(io::stdout()) else { return USUAL };
    if size.ws_col == 0 {
        return USUAL;
    }
    Size { columns: size.ws_col.into(), lines: size.ws_row.into() }
}
