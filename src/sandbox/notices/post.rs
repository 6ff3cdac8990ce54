//! One notice on the wire: an HTTP POST over a connection of its own. Redirects are not followed, and of the answer only the
//! status is looked at.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::record::TryError;
use super::target::Target;
use crate::domain::ambient::{Clock as _, SystemClock};

/// What is to be sent, with the settings of that moment.
pub(super) struct Letter {
    pub(super) target: Target,
    pub(super) body: String,
    pub(super) content_type: String,
    /// Empty sends none.
    pub(super) user_agent: String,
    /// How long all of it may take.
    pub(super) limit: Duration,
}

/// Who sends.
pub(in crate::sandbox) struct Poster {
    tls: TlsConnector,
}

impl Poster {
    /// One that knows these authorities (PEM, one or more certificates each), and none beside them.
    pub(in crate::sandbox) fn new(roots: &[Vec<u8>]) -> Result<Self, String> {
        let mut known = RootCertStore::empty();
        for pem in roots {
            let before = known.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                known.add(certificate).map_err(|error| error.to_string())?;
            }
            if known.len() == before {
                return Err("there is no certificate in it".to_owned());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(known)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends; the status of the answer.
    pub(super) async fn post(&self, letter: Letter) -> Result<u16, TryError> {
        let limit = letter.limit;
        // Real time: a clock that is moved ahead makes no receiver slower.
        tokio::select! {
            answered = self.deliver(letter) => answered,
            () = SystemClock.sleep(limit) => Err(TryError::Timeout),
        }
    }

    async fn deliver(&self, letter: Letter) -> Result<u16, TryError> {
        let Letter { target, body, content_type, user_agent, .. } = letter;
        let mut request = Request::post(target.path_and_query.as_str())
            .header(header::HOST, target.authority)
            .header(header::CONTENT_TYPE, content_type);
        if !user_agent.is_empty() {
            request = request.header(header::USER_AGENT, user_agent);
        }
        let request = request.body(Body::from(body)).map_err(|_| TryError::Broken)?;
        // The first address that somebody listens on.
        let stream = TcpStream::connect(target.addresses.as_slice()).await.map_err(|_| TryError::Refused)?;
        match target.tls_name {
            None => exchange(stream, request).await,
            Some(name) => {
                let stream = self.tls.connect(name, stream).await.map_err(|_| TryError::Tls)?;
                exchange(stream, request).await
            }
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Result<u16, TryError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| TryError::Broken)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection works only while somebody polls it, and may be done in the moment in which the answer is there.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    };
    answer.map(|answer| answer.status().as_u16()).map_err(|_| TryError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_must_be_certificates() {
        let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        assert!(Poster::new(&[]).is_ok());
        assert!(Poster::new(&[authority.clone().into_bytes(), format!("{authority}{authority}").into_bytes()]).is_ok());
        for wrong in [String::new(), "no certificate".to_owned(), authority.replacen("MII", "AAA", 1)] {
            assert!(Poster::new(&[wrong.clone().into_bytes()]).is_err(), "{wrong}");
        }
    }
}
