import DatabaseConfiguration
import Diagnostics
import KeyStorePostgreSQL
import PostgreSQLClient
import ServiceRuntime
import SiteFailover

/// The servers of a PostgreSQL database: reached by proven TLS, with what the service's user needs there.
struct DoctorDatabase {
    private let configuration: KMSServiceConfiguration
    private let credentials: Credentials

    init(_ configuration: KMSServiceConfiguration, _ credentials: Credentials) {
        (self.configuration, self.credentials) = (configuration, credentials)
    }

    func checks() -> [DoctorCheck] {
        guard case .postgresql(let section) = configuration.store.backend else { return [] }
        if let password = section.password {
            do {
                _ = try credentials.text(of: password)
            } catch let error as DiagnosedError where error.code == .credentialMissing {
                return [
                    DoctorCheck(
                        "database", .pass,
                        "not asked: its password is not handed to this process; the service tells of it")
                ]
            } catch {
                return [DoctorCheck("database", error)]
            }
        }
        let settings = section.settings(credentials, application: "hdsctl doctor")
        let servers = settings.hosts.map { host in
            (host, Result { try ClusterServer(settings, host: host).access() })
        }
        var checks = [tls(section, servers.compactMap { try? $0.1.get() })]
        checks += servers.map { server($0.0, $0.1) }
        let reached = servers.compactMap { try? $0.1.get() }
        if !reached.isEmpty, !reached.contains(where: { !$0.isStandby }) {
            checks.append(
                DoctorCheck("database", .fail, "no server takes writes", fix: "hdsctl failover plan"))
        } else if reached.isEmpty {
            checks.append(
                DoctorCheck("database", .fail, "no server can be used", fix: "see the checks of the servers"))
        } else {
            checks.append(grants(section, reached.first { !$0.isStandby }))
        }
        // With tables there is a cluster to look at: what stands against a failover.
        guard reached.contains(where: \.hasTables), settings.hosts.count > 1,
            let readiness = try? FailoverReadiness(configuration, credentials)
        else { return checks }
        let survey = FailoverSurvey(settings, seenEpoch: readiness.seenEpoch)
        let target = survey.standbys.count == 1 ? survey.standbys[0] : nil
        let skipped: Set = ["certificate", "pins", "master-key", "clock"]
        return checks
            + survey.checks(target: target).filter { !skipped.contains($0.name) && !$0.name.hasPrefix("server ") }
            .map { check in
                let found = DoctorCheck(check)
                // What would be in the way of a failover is not in the way of the service.
                return DoctorCheck(
                    "failover \(found.id)", found.result == .fail ? .warn : found.result, found.detail, fix: found.fix)
            }
    }

    private func tls(_ section: PostgreSQLSection, _ reached: [ClusterServer.Access]) -> DoctorCheck {
        if let weakness = section.weakness {
            return DoctorCheck(
                "database-tls", .warn, weakness.text,
                fix: "set store.postgresql.tls to verify-full and store.postgresql.ca to the authorities of the server")
        }
        let seen = reached.compactMap(\.protection).first.map { ", now \($0)" } ?? ""
        return DoctorCheck("database-tls", .pass, "chain and name of the servers are verified\(seen)")
    }

    private func server(
        _ host: PostgreSQLSettings.Host, _ access: Result<ClusterServer.Access, any Error>
    ) -> DoctorCheck {
        let id = "database-server \(host)"
        let seen: ClusterServer.Access
        do {
            seen = try access.get()
        } catch {
            return DoctorCheck(id, .warn, error)
        }
        guard seen.serverVersion >= 150_000 else {
            return DoctorCheck(
                id, .fail, "PostgreSQL \(seen.serverVersion / 10_000), expected 15 or newer", fix: "upgrade the server")
        }
        guard seen.isDurable else {
            return DoctorCheck(
                id, .fail, "fsync or full_page_writes is off: what it acknowledges may be lost",
                fix: "ALTER SYSTEM RESET fsync; ALTER SYSTEM RESET full_page_writes; SELECT pg_reload_conf()")
        }
        return DoctorCheck(
            id, .pass, "PostgreSQL \(seen.serverVersion / 10_000), \(seen.isStandby ? "standby" : "takes writes")")
    }

    private func grants(_ section: PostgreSQLSection, _ primary: ClusterServer.Access?) -> DoctorCheck {
        guard let primary else { return DoctorCheck("database", .fail, "no server takes writes") }
        if primary.hasTables {
            return primary.ownsTables
                ? DoctorCheck("database", .pass, "the tables are there and belong to \(section.user)")
                : DoctorCheck(
                    "database", .fail, "the schema hds_kms belongs to another user than \(section.user)",
                    fix: "as its administrator: ALTER SCHEMA hds_kms OWNER TO \"\(section.user)\", and its tables")
        }
        return primary.mayCreate
            ? DoctorCheck("database", .pass, "\(section.user) may make the tables, which are made at the first start")
            : DoctorCheck(
                "database", .fail, "\(section.user) may not make the schema hds_kms",
                fix: "as its administrator: ALTER DATABASE \(section.database) OWNER TO \"\(section.user)\"")
    }
}
