//! The load: keep-alive connections that ask as fast as they are answered, on bare sockets, so that the client is not what is
//! measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Endpoints, needle};

/// Connections at once: enough that the server always has something to do.
const CONNECTIONS: u64 = 32;

/// Room for an answer; the largest has about 1.5 KiB.
const ANSWER_MAX: usize = 16 * 1024;

/// A user with what belongs to it.
pub(super) struct Merchant {
    pub(super) user_id: u64,
    token: String,
    account_id: u64,
}

/// What is asked, of whom.
pub(super) struct Load {
    address: String,
    merchants: Arc<Vec<Merchant>>,
    /// With the echo: what each answer has.
    fixed: Option<Vec<u8>>,
}

impl Load {
    /// On the sandbox: every second request is `/user`, the others `/account`.
    pub(super) fn on_sandbox(address: &str, merchants: Vec<Merchant>) -> Self {
        Self { address: address.to_owned(), merchants: Arc::new(merchants), fixed: None }
    }

    /// On the echo: requests like the sandbox's.
    pub(super) fn on_echo(address: &str, answer: &str) -> Self {
        let user: Value = serde_json::from_str(answer).unwrap();
        let user_id = user.get("user_id").and_then(Value::as_u64).unwrap();
        let merchant = Merchant { user_id, token: format!("STAGE_{}", "0".repeat(64)), account_id: 2_900_000_001 };
        let fixed = Some(needle(&merchant, "user_id"));
        Self { address: address.to_owned(), merchants: Arc::new(vec![merchant]), fixed }
    }

    /// Asks for so long; how many right answers came, in how long.
    pub(super) async fn run(&self, length: Duration) -> (u64, Duration) {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..CONNECTIONS {
            let (merchants, fixed) = (Arc::clone(&self.merchants), self.fixed.clone());
            let mut connection = Connection::open(&self.address).await;
            tasks.spawn(async move {
                let (mut answers, mut random) = (0, 0x9e37_79b9_7f4a_7c15 ^ (number + 1));
                while begin.elapsed() < length {
                    random = xorshift(random);
                    let place = usize::try_from(random).unwrap() % merchants.len();
                    let merchant = merchants.get(place).unwrap();
                    let is_user = answers % 2 == 0;
                    let (call, body, key) = if is_user {
                        ("/user", "{}".to_owned(), "user_id")
                    } else {
                        ("/account", format!("{{\"account_id\":{}}}", merchant.account_id), "owner_user_id")
                    };
                    let answer = connection.ask(call, Some(&merchant.token), &body).await;
                    let wanted = fixed.clone().unwrap_or_else(|| needle(merchant, key));
                    assert!(answer.windows(wanted.len()).any(|part| part == wanted), "{call} answered another user");
                    answers += 1;
                }
                answers
            });
        }
        let answers = tasks.join_all().await.into_iter().sum();
        (answers, begin.elapsed())
    }
}

/// Makes users with tokens and accounts, over the API.
pub(super) async fn fill(endpoints: &Endpoints, users: u64) -> Vec<Merchant> {
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(&endpoints.api).await;
        let app = (endpoints.client_id.clone(), endpoints.client_secret.clone());
        tasks.spawn(async move {
            let mut made = Vec::new();
            for user in (number..users).step_by(usize::try_from(CONNECTIONS).unwrap()) {
                made.push(make(&mut connection, &app, user).await);
            }
            made
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn make(connection: &mut Connection, (client_id, client_secret): &(String, String), user: u64) -> Merchant {
    let registration = json!({
        "client_id": client_id,
        "client_secret": client_secret,
        "email": format!("user-{user}@shop.example"),
        "scope": "manage_accounts,collect_payments,view_user,preapprove_payments,send_money",
        "first_name": "Ada",
        "last_name": "Low",
        "original_ip": "203.0.113.7",
        "original_device": "Mozilla/5.0",
        "tos_acceptance_time": 1_700_000_000,
    });
    let issued = read(connection.ask("/user/register", None, &registration.to_string()).await);
    let token = issued.get("access_token").and_then(Value::as_str).unwrap().to_owned();
    let account = json!({"name": "Ada's Shop", "description": "Bread", "reference_id": format!("shop-{user}")});
    let account = read(connection.ask("/account/create", Some(&token), &account.to_string()).await);
    let id = |object: &Value, name: &str| object.get(name).and_then(Value::as_u64).unwrap();
    Merchant { user_id: id(&issued, "user_id"), token, account_id: id(&account, "account_id") }
}

/// What `/user` answers for one of them.
pub(super) async fn user_answer(endpoints: &Endpoints, merchants: &[Merchant]) -> String {
    let mut connection = Connection::open(&endpoints.api).await;
    let answer = connection.ask("/user", merchants.last().map(|merchant| merchant.token.as_str()), "{}").await;
    String::from_utf8(answer.to_vec()).unwrap()
}

fn read(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).unwrap()
}

/// Marsaglia's xorshift: which user comes next need not be secret, only cheap.
const fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

/// A keep-alive connection.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: Vec::new(), answer: vec![0; ANSWER_MAX] }
    }

    /// Asks and returns the body of the answer, which must be a 200.
    async fn ask(&mut self, call: &str, token: Option<&str>, body: &str) -> &[u8] {
        use std::io::Write as _;
        self.request.clear();
        let head = "host: 127.0.0.1\r\nuser-agent: bench\r\ncontent-type: application/json";
        write!(self.request, "POST /v2{call} HTTP/1.1\r\n{head}\r\ncontent-length: {}\r\n", body.len()).unwrap();
        if let Some(token) = token {
            write!(self.request, "authorization: Bearer {token}\r\n").unwrap();
        }
        write!(self.request, "\r\n{body}").unwrap();
        self.stream.write_all(&self.request).await.unwrap();
        let (mut length, mut whole) = (0, None);
        loop {
            let read = self.stream.read(self.answer.get_mut(length..).unwrap()).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            length += read;
            let so_far = self.answer.get(..length).unwrap();
            if whole.is_none() {
                whole = extent(so_far);
            }
            if let Some((start, end)) = whole
                && end <= length
            {
                return self.answer.get(start..end).unwrap();
            }
        }
    }
}

/// Where the body of an answer begins and ends, once its head is there.
fn extent(answer: &[u8]) -> Option<(usize, usize)> {
    let start = answer.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(answer.get(..start)?).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "refused: {}", String::from_utf8_lossy(answer));
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    Some((start, start + length.unwrap()))
}
