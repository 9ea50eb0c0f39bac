//! The agent's side of one session: it numbers what it sends and checks the numbers that it gets.

use std::sync::{Arc, Weak};

use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::common::soon;

/// What both ends of a session know of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    orders: mpsc::UnboundedSender<u64>,
    /// Number of the last message that the agent sent.
    sent: watch::Sender<u64>,
    /// Numbers of the client messages that arrived.
    heard: watch::Sender<Vec<u64>>,
}

impl Ledger {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<u64>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let ledger = Self {
            orders,
            sent: watch::Sender::default(),
            heard: watch::Sender::default(),
        };
        (Arc::new(ledger), receiver)
    }

    /// Has the agent send so many messages.
    pub(crate) fn order(&self, count: u64) {
        self.orders
            .send(count)
            .expect("the agent serves as long as its ledger is there");
    }

    pub(crate) async fn sent(&self, number: u64) {
        let mut sent = self.sent.subscribe();
        soon("the agent's message", sent.wait_for(|sent| *sent >= number))
            .await
            .unwrap();
    }

    pub(crate) async fn heard(&self, number: u64) {
        let mut heard = self.heard.subscribe();
        let there = heard.wait_for(|heard| heard.last().is_some_and(|&last| last >= number));
        soon("a client message at the agent", there).await.unwrap();
    }

    pub(crate) fn all_heard(&self) -> Vec<u64> {
        self.heard.borrow().clone()
    }
}

/// The text of the message of this number, which tells it from all others.
pub(crate) fn text(number: u64) -> String {
    let tail = match number % 50 {
        0 => 70_000,
        few if few % 10 == 0 => 3_000,
        few => few as usize,
    };
    format!("{number}:{}", "message ".repeat(tail / 8))
}

/// The number of a message that must be whole.
pub(crate) fn number(message: &Message) -> u64 {
    let got = match message {
        Message::Text(text) => text.as_str(),
        Message::Binary(bytes) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("not a data message: {other:?}"),
    };
    let number = got.split(':').next().unwrap().parse().unwrap();
    assert!(got == text(number), "message {number} is not what was sent");
    number
}

/// Serves a session until its ledger is gone.
pub(crate) async fn serve(
    mut socket: WebSocketStream<TcpStream>,
    ledger: Arc<Ledger>,
    mut orders: mpsc::UnboundedReceiver<u64>,
) {
    let ledger: Weak<Ledger> = {
        let weak = Arc::downgrade(&ledger);
        drop(ledger);
        weak
    };
    let (mut sent, mut last) = (0, 0);
    let mut choices = StdRng::seed_from_u64(0);
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(count) = order else { return };
                for _ in 0..count {
                    sent += 1;
                    send(&mut socket, sent, &mut choices).await;
                    if let Some(ledger) = ledger.upgrade() {
                        ledger.sent.send_replace(sent);
                    }
                }
            }
            message = socket.next() => {
                let message = message.expect("upstream stays").unwrap();
                if message.is_ping() || message.is_pong() {
                    continue;
                }
                let number = number(&message);
                assert!(number > last, "client message {number} after {last}");
                last = number;
                if let Some(ledger) = ledger.upgrade() {
                    ledger.heard.send_modify(|heard| heard.push(number));
                }
            }
        }
    }
}

/// Sends a message whole or in fragments, between which others get the processor.
async fn send(socket: &mut WebSocketStream<TcpStream>, number: u64, choices: &mut StdRng) {
    let text = text(number);
    match number % 4 {
        0 => socket.send(Message::binary(text)).await.unwrap(),
        1 => {
            let (first, rest) = text.split_at(choices.random_range(0..text.len()));
            let start = Frame::message(first.to_owned(), OpCode::Data(Data::Text), false);
            socket.send(Message::Frame(start)).await.unwrap();
            tokio::task::yield_now().await;
            let end = Frame::message(rest.to_owned(), OpCode::Data(Data::Continue), true);
            socket.send(Message::Frame(end)).await.unwrap();
        }
        _ => socket.send(Message::text(text)).await.unwrap(),
    }
}
