package import Diagnostics
package import KeyStorePostgreSQL
import KeyStore
package import PostgreSQLClient
import WireText

/// All servers of the cluster as they are now, and what that means for a failover.
package struct FailoverSurvey: Sendable {
    package struct Server: Sendable {
        package let host: PostgreSQLSettings.Host
        package let view: Result<ClusterServer.View, DiagnosedError>

        package var name: String { host.description }
        package var seen: ClusterServer.View? { try? view.get() }
        package var isPrimary: Bool { seen.map { !$0.isStandby } ?? false }
        package var isStandby: Bool { seen?.isStandby ?? false }
    }

    package let servers: [Server]
    /// The highest epoch that this machine's node has seen, 0 for none.
    package let seenEpoch: Int64

    /// Looks at each; blocks for some seconds where one does not answer.
    package init(_ settings: PostgreSQLSettings, seenEpoch: Int64, schema: String = "hds_kms") {
        self.seenEpoch = seenEpoch
        servers = settings.hosts.map { host in
            Server(
                host: host,
                view: Result { () throws(DiagnosedError) in
                    do {
                        return try ClusterServer(settings, host: host, schema: schema).look()
                    } catch let error as DiagnosedError {
                        throw error
                    } catch {
                        throw DiagnosedError("server", fault: .store, "\(host) can not be looked at", found: "\(error)")
                    }
                })
        }
    }

    /// By its name as the configuration has it, with or without the port.
    package func server(_ name: String) -> Server? {
        servers.first { $0.name == name || $0.host.name == name }
    }

    /// Who can open the active root key, as one of the servers says it.
    package var rootKeyHolders: [String] { servers.compactMap { $0.seen?.rootKeyHolders }.first ?? [] }

    package var primaries: [Server] { servers.filter(\.isPrimary) }
    package var standbys: [Server] { servers.filter(\.isStandby) }
    package var unreachable: [Server] { servers.filter { $0.seen == nil } }
    /// The highest epoch of any server.
    package var epoch: Int64 { servers.compactMap { $0.seen?.cluster.epoch }.max() ?? 0 }
    /// The primary that counts.
    package var primary: Server? { primaries.first { $0.seen?.cluster.epoch == epoch } }

    /// Whether everything acknowledged is in a standby, were it promoted now, with the primary out of reach.
    package func proof(of standby: Server) -> FailoverProof {
        guard let view = standby.seen else { return .unknown("\(standby.name) can not be looked at") }
        guard view.cluster.epoch >= seenEpoch else {
            return .unknown(
                "\(standby.name) knows epoch \(view.cluster.epoch), and this node has worked in epoch \(seenEpoch)")
        }
        let others = servers.filter { $0.name != standby.name }
        if let better = others.first(where: { $0.isStandby && ($0.seen?.position ?? 0) > view.position }) {
            return .unknown("\(better.name) has more of the log than \(standby.name)")
        }
        guard others.count(where: { $0.seen == nil }) <= 1 else {
            return .unknown("more than one server is out of reach: another standby may have more")
        }
        guard view.cluster.promisesSynchronous else {
            return .unknown("commits did not wait for a standby: what was acknowledged last may be missing")
        }
        let last = view.leases.filter { $0.epoch == view.cluster.epoch }.map(\.at).max()
        return .proved(
            "nothing was acknowledged but under leases that demand synchronous commits; the last one that arrived is of "
                + (last?.iso8601 ?? "no time"))
    }

    // MARK: Checks

    /// What stands for and against a failover to `target`, or to the one standby that there is.
    package func checks(target: Server?) -> [FailoverCheck] {
        var checks = servers.map { Self.reach($0, epoch: epoch) }
        checks.append(single)
        guard let target else {
            return checks + [
                FailoverCheck(
                    "standby", .fail, "there is no standby, or several, and none was named",
                    fix: "name all servers in store.postgresql.hosts, and one of the standbys with --to")
            ]
        }
        guard let view = target.seen else { return checks }
        checks += [epochCheck(target, view), lag(target, view), durability(target)]
        checks.append(
            view.mayPromote
                ? FailoverCheck("grant", .pass, "this user may promote \(target.name)")
                : FailoverCheck(
                    "grant", .fail, "this user may not promote \(target.name)",
                    fix: "on the primary, as its administrator, in this database: "
                        + "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO the user of store.postgresql"))
        checks.append(
            view.schemaVersion == ClusterServer.schemaVersion
                ? FailoverCheck("schema", .pass, "the tables are those of this release")
                : FailoverCheck(
                    "schema", .fail,
                    "the tables are of version \(view.schemaVersion), this release works with "
                        + "\(ClusterServer.schemaVersion)", fix: "use the hdsctl of the release that runs"))
        checks.append(
            view.synchronousStandbyNames.isEmpty || view.standbys > 0
                ? FailoverCheck("afterwards", .pass, "\(target.name) would wait for nobody after its promotion")
                : FailoverCheck(
                    "afterwards", .fail,
                    "\(target.name) has synchronous_standby_names set, and no standby of its own: after "
                        + "its promotion every commit would wait for ever",
                    fix: "on \(target.name): ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf(); "
                        + "set it again when there is a standby"))
        checks.append(clock)
        return checks
    }

    private static func reach(_ server: Server, epoch: Int64) -> FailoverCheck {
        let name = "server \(server.name)"
        switch server.view {
        case .failure(let error):
            return FailoverCheck(
                name, .warn, error.found ?? error.summary,
                fix: "if it is to be the one that is left, that is as it should be")
        case .success(let view):
            let role = view.isStandby ? "standby" : "primary"
            let live = view.isStandby ? "" : ", \(view.liveLeases.count) live leases"
            return FailoverCheck(name, .pass, "\(role), epoch \(view.cluster.epoch)\(live)")
        }
    }

    /// Two that take writes are one too many.
    private var single: FailoverCheck {
        let primaries = primaries
        let superseded = primaries.filter { $0.seen?.cluster.epoch != epoch }
        if let old = superseded.first {
            return FailoverCheck(
                "primaries", .warn, "\(old.name) takes writes in epoch \(old.seen?.cluster.epoch ?? 0), which is over",
                fix: "stop it and make it a standby: " + Self.rebuild(old.name, from: primary?.name ?? "the primary"))
        }
        if let raw = primaries.first(where: { $0.seen?.isKnownTimeline == false }) {
            return FailoverCheck(
                "primaries", .warn, "\(raw.name) was promoted, and the epoch was not raised: no node gets a lease",
                fix: "hdsctl failover promote --to \(raw.name) finishes it")
        }
        if let closed = primaries.first(where: { $0.seen?.cluster.isOpen == false }) {
            return FailoverCheck(
                "primaries", .warn, "\(closed.name) is closed for a switch-over: no node gets a lease",
                fix: "go on with it: hdsctl failover promote --switch-over")
        }
        return primaries.count <= 1
            ? FailoverCheck(
                "primaries", .pass, primaries.first.map { "\($0.name) alone takes writes" } ?? "none takes writes")
            : FailoverCheck(
                "primaries", .fail, "\(primaries.map(\.name).joined(separator: " and ")) take writes in the same epoch",
                fix: "stop all but the one that the nodes work with")
    }

    private func epochCheck(_ target: Server, _ view: ClusterServer.View) -> FailoverCheck {
        let highest = max(epoch, seenEpoch)
        return view.cluster.epoch >= highest
            ? FailoverCheck("epoch", .pass, "\(target.name) knows epoch \(view.cluster.epoch), the highest seen")
            : FailoverCheck(
                "epoch", .fail, "\(target.name) knows epoch \(view.cluster.epoch), and \(highest) was seen",
                fix: "it is behind: promote another one, or accept the loss with --force")
    }

    private func lag(_ target: Server, _ view: ClusterServer.View) -> FailoverCheck {
        guard view.isStandby else { return FailoverCheck("lag", .pass, "\(target.name) takes writes already") }
        guard let source = primary?.seen else {
            return FailoverCheck("lag", .pass, "everything that \(target.name) received is applied by its promotion")
        }
        let behind = source.position - view.replayed
        if view.isReceiving, behind < 16 << 20 {
            return FailoverCheck("lag", .pass, "\(target.name) follows, \(max(0, behind)) octets behind")
        }
        return FailoverCheck(
            "lag", view.isReceiving ? .warn : .fail,
            "\(target.name) is \(max(0, behind)) octets behind" + (view.isReceiving ? "" : " and has no connection"),
            fix: "look at its log and at primary_conninfo")
    }

    private func durability(_ target: Server) -> FailoverCheck {
        let proof = proof(of: target)
        return proof.isProved
            ? FailoverCheck("durability", .pass, proof.reason)
            : FailoverCheck(
                "durability", .warn, "unknown whether all that was acknowledged is there: \(proof.reason)",
                fix:
                    "set synchronous_standby_names on the primary; a failover as it is needs --force, a switch-over while "
                    + "the primary runs does not")
    }

    private var clock: FailoverCheck {
        let now = Timestamp.now().milliseconds
        let worst = servers.compactMap { server in
            server.seen.map { (server.name, abs($0.clock.milliseconds - now)) }
        }.max { $0.1 < $1.1 }
        guard let worst, worst.1 > 5_000 else { return FailoverCheck("clock", .pass, "the clocks agree within 5 s") }
        return FailoverCheck(
            "clock", .warn, "the clock of \(worst.0) is \(worst.1 / 1000) s off this machine's",
            fix: "see that chrony or systemd-timesyncd runs on both")
    }

    /// The lines that make a former primary a standby.
    package static func rebuild(_ server: String, from primary: String) -> String {
        "pg_rewind --target-pgdata=DATA --source-server='host=\(primary)' --write-recovery-conf, or after moving DATA away "
            + "pg_basebackup -h \(primary) -D DATA -R; then start it"
    }
}
