//! Who may do what: nobody is asked, or a name and a password are (Basic), or a token that the registry's own token
//! service gives (Bearer, as the distribution project specifies it). Each request is checked once, before its handler;
//! what it may do stays with it. The token service itself is `handlers::token`.

mod authorization;
mod need;
mod policy;
mod scope;
mod token;
mod users;

use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

pub(crate) use authorization::of as authorization_of;
pub(crate) use mockreg_proto::authorization::Authorization;
pub(crate) use policy::MAX_PADDING;
pub use policy::{PostAnswer, TokenPolicy};
pub(crate) use scope::{Access, Action, Scope, list};
pub(crate) use token::{Mint, Purpose, SERVICE};
use users::Verifier;
pub(crate) use users::random_key;
pub use users::{HtpasswdError, Users};

use crate::call::Call;
use crate::problem::{Fault, Problem};
use crate::route::Endpoint;

/// How a registry asks who its clients are.
///
/// ```
/// use mockreg::{Auth, Registry};
///
/// let auth = Auth::bearer([("ann", "secret")]).anonymous_pull(true);
/// let registry = Registry::builder().auth(auth).start()?;
/// # Ok::<(), mockreg::StartError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Auth {
    mode: Mode,
    users: Users,
    anonymous_pull: bool,
    push_deletes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    None,
    Basic,
    Bearer,
}

impl Auth {
    /// Nobody is asked. The default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every request carries name and password.
    pub fn basic(users: impl Into<Users>) -> Self {
        Self { mode: Mode::Basic, users: users.into(), ..Self::default() }
    }

    /// Every request carries a token, which `/token` gives for name and password.
    pub fn bearer(users: impl Into<Users>) -> Self {
        Self { mode: Mode::Bearer, users: users.into(), ..Self::default() }
    }

    /// Whether clients say who they are.
    pub(crate) fn asks(&self) -> bool {
        self.mode != Mode::None
    }

    /// Whether clients without a name may pull. Default: no.
    #[must_use]
    pub fn anonymous_pull(mut self, allowed: bool) -> Self {
        self.anonymous_pull = allowed;
        self
    }

    /// Whether the right to push is one to delete as well. Default: no, deleting (and giving up an upload) needs the
    /// action `delete`, as in the reference implementation.
    #[must_use]
    pub fn push_deletes(mut self, implied: bool) -> Self {
        self.push_deletes = implied;
        self
    }
}

/// Who sent a request, as far as the registry knows.
#[derive(Debug)]
pub(crate) struct Sender {
    /// What it may do.
    pub(crate) access: Access,
    /// Its name; `None` where nobody was asked or nobody logged in.
    pub(crate) user: Option<String>,
}

impl Sender {
    /// Somebody who may do nothing.
    fn nobody() -> Self {
        Self { access: Access::Granted(Vec::new()), user: None }
    }
}

/// The guard at the registry's door.
#[derive(Debug)]
pub(crate) struct Guard {
    mode: Mode,
    anonymous_pull: bool,
    push_deletes: bool,
    pub(crate) tokens: TokenPolicy,
    pub(crate) mint: Mint,
    users: Verifier,
}

impl Guard {
    /// A guard who does as `auth` says, with such tokens.
    pub(crate) fn new(auth: Auth, tokens: TokenPolicy) -> Self {
        Self {
            mode: auth.mode,
            anonymous_pull: auth.anonymous_pull,
            push_deletes: auth.push_deletes,
            tokens,
            mint: Mint::new(),
            users: Verifier::new(auth.users),
        }
    }

    /// Whether there is a token service.
    pub(crate) fn gives_tokens(&self) -> bool {
        self.mode == Mode::Bearer
    }

    /// What the sender of a request may do, if it is enough for the request.
    ///
    /// # Errors
    /// 401 with a challenge that says what the client would need.
    pub(crate) async fn check(&self, call: &Call) -> Result<Sender, Problem> {
        // The token service asks by itself, who and for what.
        if call.target.endpoint == Endpoint::Token {
            return Ok(Sender::nobody());
        }
        let needs = || need::needs(&call.target, &call.method, &call.query, self.push_deletes);
        match self.mode {
            Mode::None => Ok(Sender { access: Access::Everything, user: None }),
            Mode::Basic => self.check_password(call, &needs()).await,
            Mode::Bearer => self.check_token(call, &needs()),
        }
    }

    async fn check_password(&self, call: &Call, needs: &[Scope]) -> Result<Sender, Problem> {
        let refused = |detail: &str| Err(self.ask_for_password(Problem::new(Fault::Unauthorized, detail)));
        match authorization_of(&call.headers) {
            Authorization::Basic(name, password) if self.users.is_right(&name, &password).await => {
                Ok(Sender { access: Access::Everything, user: Some(name) })
            }
            Authorization::Nobody if self.lets_pull(needs) => {
                Ok(Sender { access: Access::Pulls, user: None })
            }
            Authorization::Nobody => refused("name and password are needed"),
            Authorization::Basic(name, _) => {
                refused(&format!("`{name}` is unknown, or has another password"))
            }
            Authorization::Bearer(_) => refused("this registry takes Basic credentials, not tokens"),
            Authorization::Malformed(reason) => refused(reason),
        }
    }

    /// Whether a client without a name may do this. The base route asks everyone: it is where clients find out how to
    /// log in.
    fn lets_pull(&self, needs: &[Scope]) -> bool {
        self.anonymous_pull && !needs.is_empty() && needs.iter().all(|need| Access::Pulls.covers(need))
    }

    fn check_token(&self, call: &Call, needs: &[Scope]) -> Result<Sender, Problem> {
        let refused = |fault, detail: &str, error| {
            let problem = Problem::new(fault, detail);
            Err(self.ask_for_token(problem, &call.origin(), needs, error))
        };
        let token = match authorization_of(&call.headers) {
            Authorization::Bearer(token) => token,
            Authorization::Malformed(reason) => return refused(Fault::Unauthorized, reason, None),
            Authorization::Nobody => return refused(Fault::Unauthorized, "a token is needed", None),
            Authorization::Basic(..) => {
                return refused(
                    Fault::Unauthorized,
                    "this registry takes tokens, not Basic credentials",
                    None,
                );
            }
        };
        match self.mint.read(Purpose::Access, &token, &self.tokens, self.mint.now()) {
            Err(refusal) => refused(Fault::TokenRefused, refusal.reason(), Some("invalid_token")),
            Ok(claims) => {
                let access = Access::Granted(claims.access);
                match needs.iter().find(|need| !access.covers(need)) {
                    None => Ok(Sender { access, user: Some(claims.sub).filter(|user| !user.is_empty()) }),
                    Some(need) => {
                        let detail = format!("the token does not grant {need}");
                        refused(Fault::ScopeInsufficient, &detail, Some("insufficient_scope"))
                    }
                }
            }
        }
    }

    /// Adds the challenge for a name and a password.
    fn ask_for_password(&self, problem: Problem) -> Problem {
        self.challenge(problem, &format!("Basic realm=\"{SERVICE}\""))
    }

    /// Adds the challenge for a token. Names in scopes and origin are checked, so nothing in it can end a quotation.
    fn ask_for_token(&self, problem: Problem, origin: &str, needs: &[Scope], error: Option<&str>) -> Problem {
        let mut parameters = Vec::new();
        if !self.tokens.without_realm {
            parameters.push(format!("realm=\"{origin}/token\""));
        }
        parameters.push(format!("service=\"{SERVICE}\""));
        if !needs.is_empty() {
            parameters.push(format!("scope=\"{}\"", list(needs)));
        }
        parameters.extend(error.map(|error| format!("error=\"{error}\"")));
        self.challenge(problem, &format!("Bearer {}", parameters.join(",")))
    }

    fn challenge(&self, problem: Problem, challenge: &str) -> Problem {
        let problem = match self.tokens.negotiate_first {
            true => problem.with(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate")),
            false => problem,
        };
        let challenge = HeaderValue::from_str(challenge).expect("checked names and hosts are visible ASCII");
        problem.with(WWW_AUTHENTICATE, challenge)
    }

    /// Who asks the token service: a user, or nobody (`None`) where that is allowed.
    ///
    /// # Errors
    /// 401: the password is wrong, the header malformed, or anonymous clients get nothing.
    pub(crate) async fn identify(&self, authorization: Authorization) -> Result<Option<String>, Problem> {
        let refused = |detail: &str| Err(self.ask_for_password(Problem::new(Fault::Unauthorized, detail)));
        match authorization {
            Authorization::Basic(name, password) if self.users.is_right(&name, &password).await => {
                Ok(Some(name))
            }
            Authorization::Nobody if self.anonymous_pull => Ok(None),
            Authorization::Nobody => refused("name and password are needed"),
            Authorization::Basic(name, _) => {
                refused(&format!("`{name}` is unknown, or has another password"))
            }
            Authorization::Bearer(_) => refused("the token service takes Basic credentials"),
            Authorization::Malformed(reason) => refused(reason),
        }
    }

    /// The user to whom a refresh token was given.
    ///
    /// # Errors
    /// 401: it is not one of this registry.
    pub(crate) fn refreshed(&self, token: &str) -> Result<String, Problem> {
        match self.mint.read(Purpose::Refresh, token, &self.tokens, self.mint.now()) {
            Ok(claims) => Ok(claims.sub),
            Err(refusal) => Err(self.ask_for_password(Problem::new(Fault::TokenRefused, refusal.reason()))),
        }
    }
}
