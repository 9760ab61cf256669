//! The way to the store: one server, the master that Sentinels name, or a cluster.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{Client, ErrorKind, RedisError, RedisResult, Script};

use super::service::Call;

/// How the store is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    One(String),
    Sentinel { servers: Vec<String>, master: String },
    Cluster(Vec<String>),
}

impl Place {
    /// Reads an address. The error never repeats it: there may be a password in it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim();
        let (scheme, rest) =
            url.split_once("://").ok_or("it has no scheme: write redis://host:6379")?;
        let tls = scheme.starts_with("rediss");
        let servers = |list: &str| -> Vec<String> {
            // A user and password are those of every server.
            let (user, hosts) =
                list.rsplit_once('@').map_or(("", list), |(user, hosts)| (user, hosts));
            let at = if user.is_empty() { "" } else { "@" };
            let scheme = if tls { "rediss" } else { "redis" };
            hosts.split(',').map(|host| format!("{scheme}://{user}{at}{host}")).collect()
        };
        let place = match scheme {
            "redis" | "rediss" => Place::One(url.to_owned()),
            "redis+sentinel" | "rediss+sentinel" => {
                let (list, master) = rest.split_once('/').ok_or("the master's name is missing")?;
                Place::Sentinel { servers: servers(list), master: master.to_owned() }
            }
            "redis+cluster" | "rediss+cluster" => {
                Place::Cluster(servers(rest.trim_end_matches('/')))
            }
            _ => {
                return Err(
                    "its scheme is not redis, rediss, redis+sentinel or redis+cluster".into()
                );
            }
        };
        let each = match &place {
            Place::One(server) => std::slice::from_ref(server),
            Place::Sentinel { servers, .. } | Place::Cluster(servers) => servers,
        };
        for server in each {
            Client::open(server.as_str())
                .map_err(|_| "it is not an address of Redis".to_owned())?;
        }
        Ok(place)
    }
}

/// A connection.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    pub(super) async fn connect(place: &Place, timeout: Duration) -> RedisResult<Self> {
        let connecting = async {
            Ok(match place {
                Place::One(server) => Link::One(
                    Client::open(server.as_str())?.get_multiplexed_async_connection().await?,
                ),
                Place::Sentinel { servers, master } => {
                    let servers = servers
                        .iter()
                        .map(|server| {
                            Ok(Client::open(server.as_str())?.get_connection_info().addr().clone())
                        })
                        .collect::<RedisResult<Vec<_>>>()?;
                    let builder =
                        SentinelClientBuilder::new(servers, master, SentinelServerType::Master);
                    let mut client = builder?.build()?;
                    Link::One(client.get_async_connection().await?)
                }
                Place::Cluster(servers) => {
                    let client =
                        ClusterClientBuilder::new(servers.iter().map(String::as_str)).build()?;
                    Link::Cluster(client.get_async_connection().await?)
                }
            })
        };
        tokio::time::timeout(timeout, connecting).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Asks whether the store is there.
    pub(super) async fn greet(&mut self, timeout: Duration) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        let asking = async {
            match self {
                Link::One(connection) => ping.exec_async(connection).await,
                Link::Cluster(connection) => ping.exec_async(connection).await,
            }
        };
        tokio::time::timeout(timeout, asking).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Claims what a call asks for; what was claimed, and what the others claim.
    pub(super) async fn claim(
        &mut self,
        script: &Script,
        call: &Call,
        process: &str,
        timeout: Duration,
    ) -> RedisResult<(u64, u64)> {
        let mut invocation = script.key(&call.key);
        invocation
            .arg(process)
            .arg(call.most)
            .arg(call.used)
            .arg(call.need)
            .arg(call.want)
            .arg(call.ttl_ms)
            .arg(u8::from(call.known))
            .arg(super::GRACE_MS);
        let asking = async {
            match self {
                Link::One(connection) => invocation.invoke_async(connection).await,
                Link::Cluster(connection) => invocation.invoke_async(connection).await,
            }
        };
        tokio::time::timeout(timeout, asking).await.unwrap_or_else(|_| Err(too_slow()))
    }
}

fn too_slow() -> RedisError {
    (ErrorKind::Io, "it did not answer in time").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let one = Place::parse("redis://:secret@host:6379/2").expect("one");
        assert_eq!(one, Place::One("redis://:secret@host:6379/2".into()));
        let sentinel = Place::parse("redis+sentinel://a:1,b:2/main").expect("sentinels");
        let servers = vec!["redis://a:1".to_owned(), "redis://b:2".to_owned()];
        assert_eq!(sentinel, Place::Sentinel { servers, master: "main".into() });
        let cluster = Place::parse("rediss+cluster://:pw@a:1,b:2").expect("a cluster");
        let servers = vec!["rediss://:pw@a:1".to_owned(), "rediss://:pw@b:2".to_owned()];
        assert_eq!(cluster, Place::Cluster(servers));
        for wrong in ["host:6379", "http://host", "redis+sentinel://a:1", "redis://a:port"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
