//! `strongroom dev` killed with SIGKILL, again and again on the same directory: while the provider is asked for a token, while a
//! commit waits, while a read waits, and at random moments. After each restart everything acknowledged is there.
//!
//! The order of the kills and their random moments come from a seed, which is printed; `STRONGROOM_KILL_SEED` sets it.

#![expect(clippy::print_stderr, reason = "the seed and the counts belong to the report of the test")]

mod ledger;
mod shop;
mod window;

use std::path::PathBuf;
use std::time::Duration;

use strongroom::domain::ambient::{Clock as _, SystemClock, SystemEntropy, random};

use self::ledger::{bring_home, check, verify};
use self::shop::{Shop, Standing};
use self::window::{Prelude, Processing};
use crate::support::dev::{Dev, Process};

/// Kills with a window of each kind; each of them must hit.
const HITS: usize = 9;
/// Kills at a random moment.
const RANDOM: usize = 13;
/// The latest random moment after the work began: longer than a journey takes.
const RANDOM_MAX: Duration = Duration::from_millis(1_500);

/// One kill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// While `/oauth2/token` is in flight.
    Token(Prelude, Processing),
    /// While the commit of the new token waits.
    Commit(Prelude),
    /// While a read waits for its audit record.
    Read,
    /// Whenever.
    Random,
}

fn plans() -> Vec<Plan> {
    use Prelude::{Connected, New, Slandered};
    use Processing::{After, Before};
    let token = [(New, Before), (New, After), (Connected, Before), (Connected, After), (Slandered, Before)];
    let commit = [New, Connected];
    let tokens = token.iter().cycle().take(HITS).map(|(prelude, processing)| Plan::Token(*prelude, *processing));
    let commits = commit.iter().cycle().take(HITS).map(|prelude| Plan::Commit(*prelude));
    let rest = std::iter::repeat_n(Plan::Read, HITS).chain(std::iter::repeat_n(Plan::Random, RANDOM));
    tokens.chain(commits).chain(rest).collect()
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(of).unwrap())).unwrap()
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.place(last + 1));
        }
    }
}

/// The process, what it serves, and the ledger.
struct Site {
    dir: PathBuf,
    log: PathBuf,
    process: Process,
    dev: Dev,
    shops: Vec<Shop>,
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the log:\n{}", self.process.end_of_log());
        }
    }
}

impl Site {
    /// Starts the killed process again: on the same ports, with everything that was acknowledged.
    async fn restart(&mut self) {
        let before = self.dev.json.clone();
        let (process, dev) = Process::start(&self.dir, &self.log).await;
        assert_eq!(dev.json, before, "another dev.json: ports, certificates or the app's secret changed");
        (self.process, self.dev) = (process, dev);
        for shop in &self.shops {
            check(&self.dev, shop).await;
        }
        verify(&self.dev).await;
    }

    async fn add_shop(&mut self) -> usize {
        let place = self.shops.len();
        self.shops.push(Shop::new(&self.dev, place).await);
        place
    }

    /// A merchant in the state that the window wants.
    async fn victim(&mut self, prelude: Prelude, dice: &mut Dice) -> usize {
        if prelude == Prelude::New {
            return self.add_shop().await;
        }
        let place = dice.place(self.shops.len());
        let (dev, shop) = (&self.dev, self.shops.get_mut(place).unwrap());
        match prelude {
            Prelude::Slandered => window::slander(dev, shop).await,
            _ => {
                shop.revoke(dev).await;
                shop.report(dev, Standing::Dead).await;
            }
        }
        place
    }

    /// Kills at a random moment of ordinary work.
    async fn kill_at_random(&mut self, dice: &mut Dice) {
        let after = Duration::from_millis(dice.roll(u64::try_from(RANDOM_MAX.as_millis()).unwrap()));
        let place = dice.place(self.shops.len());
        let (dev, process) = (&self.dev, &mut self.process);
        let (others, shop) = self.shops.split_at_mut(place);
        let (shop, _) = shop.split_first_mut().unwrap();
        let work = async {
            loop {
                for other in others.iter() {
                    other.read(dev).await.unwrap();
                }
                shop.unsettled = true;
                shop.revoke(dev).await;
                shop.report(dev, Standing::Dead).await;
                shop.connect(dev).await;
            }
        };
        let mut work = std::pin::pin!(work);
        tokio::select! {
            () = &mut work => {}
            () = SystemClock.sleep(after) => process.kill(),
        }
    }

    /// One kill, the restart, and the way on. That its window is hit is asserted there.
    async fn suffer(&mut self, plan: Plan, dice: &mut Dice) {
        match plan {
            Plan::Token(prelude, processing) => {
                let place = self.victim(prelude, dice).await;
                let shop = self.shops.get_mut(place).unwrap();
                window::token(&mut self.process, &self.dev, shop, processing).await;
                self.restart().await;
                let shop = self.shops.get_mut(place).unwrap();
                window::judged(&self.dev, shop, prelude).await;
            }
            Plan::Commit(prelude) => {
                let place = self.victim(prelude, dice).await;
                let shop = self.shops.get_mut(place).unwrap();
                window::commit(&mut self.process, &self.dev, shop).await;
                self.restart().await;
                let shop = self.shops.get_mut(place).unwrap();
                window::judged(&self.dev, shop, prelude).await;
            }
            Plan::Read => {
                let place = dice.place(self.shops.len());
                let shop = self.shops.get(place).unwrap();
                window::read(&mut self.process, &self.dev, shop).await;
                self.restart().await;
            }
            Plan::Random => {
                self.kill_at_random(dice).await;
                self.restart().await;
            }
        }
        for shop in &mut self.shops {
            if shop.unsettled || shop.standing != Standing::Live {
                bring_home(&self.dev, shop).await;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the seed of a run that failed can be given again")]
fn seed() -> u64 {
    let given = std::env::var("STRONGROOM_KILL_SEED").ok();
    given.map_or_else(|| u64::from_le_bytes(random(&SystemEntropy)), |given| given.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_kills_lose_nothing_acknowledged_and_every_merchant_goes_on() {
    let seed = seed();
    eprintln!("STRONGROOM_KILL_SEED={seed}");
    let mut dice = Dice(seed);
    let mut plans = plans();
    dice.shuffle(&mut plans);
    let place = tempfile::tempdir().unwrap();
    let (dir, log) = (place.path().join("dev"), place.path().join("log"));
    let (process, dev) = Process::start(&dir, &log).await;
    let mut site = Site { dir, log, process, dev, shops: Vec::new() };
    for _ in 0..2 {
        let place = site.add_shop().await;
        let shop = site.shops.get_mut(place).unwrap();
        shop.connect(&site.dev).await;
    }
    let begun = SystemClock.boot();
    for (number, plan) in plans.iter().enumerate() {
        eprintln!("{:>3.0?} kill {}: {plan:?}", SystemClock.boot().saturating_sub(begun), number + 1);
        site.suffer(*plan, &mut dice).await;
    }
    let count = |is_it: fn(&Plan) -> bool| plans.iter().filter(|plan| is_it(plan)).count();
    let token = count(|plan| matches!(plan, Plan::Token(..)));
    let commit = count(|plan| matches!(plan, Plan::Commit(_)));
    let read = count(|plan| *plan == Plan::Read);
    let records = verify(&site.dev).await;
    eprintln!(
        "{} kills: {token} with /oauth2/token in flight, {commit} with a commit, {read} with a read; \
         {} merchants, {records} records verify; STRONGROOM_KILL_SEED={seed}",
        plans.len(),
        site.shops.len()
    );
    assert_eq!(plans.len(), 40);
    assert!(token >= 8 && commit >= 8 && read >= 8);
}
