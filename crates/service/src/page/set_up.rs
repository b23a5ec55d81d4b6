//! The set-up page of a service on which nothing is configured: it looks at the database, tests mail and destinations, and
//! proposes a configuration, as `hubvault init` does. Each step is a child process with a time limit.

use super::Page;
use super::actions::caller;
use super::set_up_form::{first, is_said_by_variables, read, shown, variables};
use super::view::Visit;
use super::{assets, closed, login, shape};
use crate::child;
use crate::http::audit::Caller;
use crate::http::auth::{Audit, too_many};
use crate::http::blocking;
use crate::http::error::{self, ApiError};
use crate::http::limit::Limit;
use crate::set_up::{Found, SetUp, Step};
use crate::token::{Role, Tokens};
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hubvault_config::{Inputs, Settings};
use hubvault_engine::state::StateDir;
use minijinja::Value;
use minijinja::context;
use minijinja::value::Serde;
use secrecy::SecretString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// A step may take so long; the answer has 30 s in all.
const LIMIT: Duration = Duration::from_secs(25);
/// Steps: ten at once, then one in six seconds.
const STEPS: (f64, f64) = (10.0, 1.0 / 6.0);
/// The file that is proposed where none was named.
const FILE: &str = "hubvault.toml";

/// What is asked and known so far. It ends with the service.
pub(super) struct SetUpState {
    inputs: Inputs,
    /// The file that may be written.
    file: Option<PathBuf>,
    /// The token that the configuration's directory gets.
    token: Option<SecretString>,
    steps: Limit<()>,
    at_work: Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    asked: SetUp,
    host: Option<Found>,
    /// The newest result of each step, with what it was asked for.
    results: Vec<(SetUp, Found)>,
}

impl SetUpState {
    /// Nothing is known yet.
    pub(super) fn new(inputs: Inputs, file: Option<PathBuf>, token: Option<SecretString>) -> Self {
        let output = file.clone().unwrap_or_else(|| {
            let directory = inputs.environment.config_dir();
            directory.join(FILE)
        });
        let asked = first(output, &inputs.environment);
        Self {
            inputs,
            file,
            token,
            steps: Limit::new(STEPS.0, STEPS.1),
            at_work: Mutex::default(),
            known: Mutex::new(Known {
                asked,
                ..Known::default()
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a step, one at a time.
    fn perform(&self, asked: &SetUp) -> Result<Found, ApiError> {
        let _at_work = match self.at_work.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let what = "another step is in progress, and only one at a time can be; try again after its end";
                return Err(ApiError::new(StatusCode::CONFLICT, what));
            }
        };
        let masks = asked.masks();
        let found = child::set_up(asked, LIMIT).unwrap_or_else(|error| Found {
            bad: vec![format!("{error:#}")],
            ..Found::default()
        });
        Ok(found.map(|text| masks.mask(text)))
    }

    /// What this host offers, found once.
    fn host(&self) -> Option<Found> {
        if let Some(host) = &self.known().host {
            return Some(host.clone());
        }
        let asked = SetUp {
            output: self.known().asked.output.clone(),
            ..SetUp::default()
        };
        // Whoever comes meanwhile sees the page without it.
        let found = self.perform(&asked).ok()?;
        self.known().host = Some(found.clone());
        Some(found)
    }
}

impl Known {
    /// The result of a step, unless something else was answered since.
    fn result(&self, step: Step) -> Option<&Found> {
        let wanted = SetUp {
            step,
            ..self.asked.clone()
        };
        let found = self.results.iter().find(|(asked, _)| *asked == wanted);
        found.map(|(_, found)| found)
    }

    fn keep(&mut self, asked: SetUp, found: Found) {
        self.results.retain(|(other, _)| other.step != asked.step);
        self.results.push((asked, found));
    }
}

/// The pages of a service that is not set up.
pub(super) fn routes(page: Arc<Page>, state: Arc<SetUpState>) -> Router {
    let router = Router::new()
        .route("/", get(show))
        .route("/set-up", post(step))
        .route("/login", get(login::show).post(login::login))
        .route("/logout", post(login::logout))
        .route("/assets/{name}", get(assets::asset))
        .fallback(shape::nothing_here)
        .layer(Extension(state));
    closed(router, page)
}

/// What the API answers there.
pub(super) fn elsewhere() -> Router {
    let answer = || async {
        let what = "nothing is configured yet, so that nothing is backed up; open this address in a browser to set it up";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, what)
    };
    Router::new().fallback(answer).layer(from_fn(error::shape))
}

/// The form.
async fn show(
    State(page): State<Arc<Page>>,
    Extension(state): Extension<Arc<SetUpState>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, ApiError> {
    admin(&visit)?;
    blocking(move || {
        state.host();
        render(&page, &state, &visit, None)
    })
    .await
}

fn render(
    page: &Page,
    state: &SetUpState,
    visit: &Visit,
    problem: Option<&str>,
) -> Result<Response, ApiError> {
    let known = state.known();
    let result = |step| known.result(step).map(|found| Value::from(Serde(found)));
    let host = known.host.as_ref();
    let values = context! {
        at => "set-up",
        problem,
        form => shown(&known.asked, &state.inputs.environment),
        host => host.map(|found| Value::from(Serde(found))),
        database => result(Step::Database),
        mail => result(Step::Mail),
        destinations => result(Step::Destinations),
        write => result(Step::Write),
        output => known.asked.output.display().to_string(),
        may_write => state.file.is_some() && host.is_some_and(|host| host.unwritable.is_empty()),
        is_named => state.file.is_some(),
        variables => variables(&known.asked, known.result(Step::Database).map_or("", |found| &found.text)),
        is_said_by_variables => is_said_by_variables(&known.asked),
    };
    let html = page.views.render("set_up.html", visit, values)?;
    let status = if problem.is_some() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    Ok((status, html).into_response())
}

/// Does what a button asks for.
async fn step(
    State(page): State<Arc<Page>>,
    Extension(state): Extension<Arc<SetUpState>>,
    Extension(visit): Extension<Visit>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    admin(&visit)?;
    blocking(move || {
        let environment = &state.inputs.environment;
        let before = state.known().asked.clone();
        let asked = match read(&pairs, &before, environment) {
            Ok(asked) => asked,
            Err(problem) => return render(&page, &state, &visit, Some(&problem)),
        };
        let button = pairs.iter().find(|(name, _)| name == "do");
        let (step, audit) = match button.map(|(_, value)| value.as_str()) {
            Some("mail") => (
                Step::Mail,
                format!("sent a test message over {}", asked.answer("SMTP_HOST")),
            ),
            Some("destinations") => (Step::Destinations, "tested the destinations".to_owned()),
            Some("write") => return write(&page, &state, &visit, asked),
            _ => (
                Step::Database,
                format!(
                    "looked at the database at {}",
                    asked.answer("POSTGRES_HOST")
                ),
            ),
        };
        take_step(&state)?;
        let asked = SetUp { step, ..asked };
        let found = state.perform(&asked)?;
        let audit = match step {
            Step::Destinations => {
                let tested = [found.good.as_slice(), &found.bad].concat();
                format!("{audit}: {}", tested.join("; "))
            }
            _ => audit,
        };
        let mut known = state.known();
        known.asked = SetUp {
            step: Step::Host,
            ..asked.clone()
        };
        known.keep(asked, found);
        drop(known);
        let response = render(&page, &state, &visit, None)?;
        Ok((Extension(Audit(audit)), response).into_response())
    })
    .await
}

fn take_step(state: &SetUpState) -> Result<(), ApiError> {
    let taken = state.steps.take((), Instant::now());
    taken.map_err(|seconds| too_many("too many steps", seconds))
}

/// Writes the proposal that was shown, and starts the service with it.
fn write(
    page: &Page,
    state: &SetUpState,
    visit: &Visit,
    asked: SetUp,
) -> Result<Response, ApiError> {
    let conflict = |what: &str| Err(ApiError::new(StatusCode::CONFLICT, what));
    let Some(file) = &state.file else {
        return conflict(
            "nothing names the configuration file of the service; save the text that is shown",
        );
    };
    let found = {
        let known = state.known();
        let is_shown = SetUp {
            step: Step::Host,
            ..asked.clone()
        } == known.asked;
        known.result(Step::Database).filter(|_| is_shown).cloned()
    };
    let Some(shown) = found.filter(|found| !found.text.is_empty()) else {
        return conflict(
            "something was changed since the configuration was shown; look at the database again",
        );
    };
    take_step(state)?;
    let asked = SetUp {
        step: Step::Write,
        shown: shown.text,
        ..asked
    };
    let written = state.perform(&asked)?;
    if written.bad.is_empty() {
        return started(page, state, visit, &written, &file.display().to_string());
    }
    state.known().keep(
        SetUp {
            shown: String::new(),
            ..asked
        },
        written,
    );
    render(page, state, visit, None)
}

/// The configuration is there: its directory gets the token, and the service starts again.
fn started(
    page: &Page,
    state: &SetUpState,
    visit: &Visit,
    written: &Found,
    file: &str,
) -> Result<Response, ApiError> {
    let jobs = Settings::load_all(&state.inputs).map_err(anyhow::Error::new)?;
    if let (Some(job), Some(token)) = (jobs.first(), &state.token) {
        let directory = StateDir::open(&job.service.directory).map_err(anyhow::Error::new)?;
        Tokens::of(&directory).create_first(Some(token))?;
    }
    page.app.daemon.reload_scheduler();
    let values = context! { at => "set-up", written => Value::from(Serde(written)) };
    let html = page.views.render("set_up_done.html", visit, values)?;
    let audit = Extension(Audit(format!("wrote {file}")));
    Ok((audit, html).into_response())
}

fn admin(visit: &Visit) -> Result<Caller, ApiError> {
    let caller = caller(visit)?;
    match &caller.token {
        Some(token) if token.role >= Role::Admin => Ok(caller),
        _ => {
            let what = "setting up needs the role admin";
            Err(ApiError::new(StatusCode::FORBIDDEN, what))
        }
    }
}
