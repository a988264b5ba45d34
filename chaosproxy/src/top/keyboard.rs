//! Keys, while a page is shown again and again: `q` and Ctrl-C end the program at once, whatever the server is doing.
//! So do the usual signals, and all of them leave the terminal as it was.

use std::io::{self, Read as _};
use std::thread;

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::signal::unix::{SignalKind, signal};

/// What Ctrl-C sends to a terminal that makes no signal of it.
const CTRL_C: u8 = 3;

/// The keyboard, which has its usual manner again when this is dropped.
#[derive(Debug)]
pub(super) struct Keyboard {
    usual: Option<Termios>,
}

impl Keyboard {
    /// Watches the keys, if standard input is a terminal that is this program's to read from.
    pub(super) fn watch() -> Self {
        let usual = tcgetattr(io::stdin()).ok().filter(|_| is_ours());
        if let Some(usual) = &usual {
            let [of_keys, of_signals] = [usual.clone(), usual.clone()];
            let keys = thread::Builder::new().name("keys".into()).spawn(move || watch(&of_keys));
            let signals = thread::Builder::new().name("signals".into()).spawn(move || obey(&of_signals));
            // Unwatched keys leave Ctrl-C as it is: a signal that ends the program.
            if keys.is_ok() && signals.is_ok() {
                set(&listening(usual.clone()));
            }
        }
        Self { usual }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(usual) = &self.usual {
            set(usual);
        }
    }
}

/// Each key at once and unseen, and no signals by keys: Ctrl-Z would leave the terminal like this.
fn listening(mut terminal: Termios) -> Termios {
    terminal.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
    terminal.special_codes[SpecialCodeIndex::VMIN] = 1;
    terminal.special_codes[SpecialCodeIndex::VTIME] = 0;
    terminal
}

/// A program in the background that changes its terminal is stopped for that.
fn is_ours() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |foreground| foreground == getpgrp())
}

fn set(terminal: &Termios) {
    let _a_terminal_that_is_gone_needs_nothing = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
}

fn watch(usual: &Termios) {
    for key in io::stdin().lock().bytes() {
        match key {
            Ok(b'q' | b'Q' | CTRL_C) => {
                set(usual);
                std::process::exit(0);
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Ends the program by the first signal that says so, with the exit code that a shell has for it.
fn obey(usual: &Termios) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let caught = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            Ok(tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            })
        })
    });
    // Signals that cannot be caught end the program in their usual way.
    if let Ok(kind) = caught {
        set(usual);
        std::process::exit(128 + kind.as_raw_value());
    }
}
