import Cryptography
import DatabaseConfiguration
import Diagnostics
import LinkedService
import MasterKey
package import PostgreSQLClient
package import ServiceRuntime
package import SiteFailover
import TLSChannel
import WireText

/// What a node's own configuration says before a failover: which servers there are, and whether this node could go on with
/// another one.
package struct FailoverReadiness: Sendable {
    package let configuration: KMSServiceConfiguration
    package let settings: PostgreSQLSettings
    /// The highest epoch that this node has seen.
    package let seenEpoch: Int64

    /// Reads what has to be there; a configuration without PostgreSQL has no failover.
    package init(_ configuration: KMSServiceConfiguration, _ credentials: Credentials) throws {
        guard case .postgresql(let section) = configuration.store.backend else {
            throw DiagnosedError(
                "failover-of-one", fault: .configuration, "a key store in a SQLite file has no failover",
                expected: "store.postgresql", found: "store.file",
                hint: "move it first: hdsctl migrate sqlite-to-postgres")
        }
        self.configuration = configuration
        settings = section.settings(credentials, application: "hdsctl failover")
        seenEpoch = try EpochFile(folder: configuration.dataFolder).epoch
    }

    package var journal: String { configuration.dataFolder + "/failover.journal" }

    /// Certificate, master key and pins of this node.
    package func checks(_ credentials: Credentials, rootKeyHolders: [String]) -> [FailoverCheck] {
        [certificate, masterKey(credentials, rootKeyHolders), pins]
    }

    private var certificate: FailoverCheck {
        do {
            let chain = try configuration.staticKey.certificate.certificates()
            guard let end = chain.first?.notAfter else {
                return FailoverCheck(
                    "certificate", .fail, "there is no certificate in \(configuration.staticKey.certificate)",
                    fix: "put the certificate of the static key there")
            }
            let days = (end.milliseconds - Timestamp.now().milliseconds) / 86_400_000
            return days >= 30
                ? FailoverCheck("certificate", .pass, "the static key's certificate is valid for \(days) days")
                : FailoverCheck(
                    "certificate", days > 0 ? .warn : .fail, "the static key's certificate is valid for \(days) days",
                    fix: "ask for a new one now: during a failover there is no time")
        } catch {
            return FailoverCheck(
                "certificate", .fail, "the static key's certificate can not be read: \(Loggable(error: error).text)",
                fix: "see static-key.certificate in the configuration")
        }
    }

    private func masterKey(_ credentials: Credentials, _ holders: [String]) -> FailoverCheck {
        do {
            let key = try configuration.masterKey.open(credentials)
            guard !holders.isEmpty else {
                return FailoverCheck(
                    "master-key", .warn, "no server could be asked which master key opens the store",
                    fix: "see the checks of the servers")
            }
            return holders.contains(key.holder)
                ? FailoverCheck("master-key", .pass, "the master key of this node opens the active root key")
                : FailoverCheck(
                    "master-key", .fail, "the master key of this node does not open the active root key",
                    fix: "give this node the master key that the others have")
        } catch {
            return FailoverCheck(
                "master-key", .warn, "the master key can not be opened by this user: \(Loggable(error: error).text)",
                fix: "under systemd only the service reads it: hdsctl status tells whether it runs")
        }
    }

    private var pins: FailoverCheck {
        let broken = configuration.core.pins.filter { SPKIPin($0) == nil }
        guard broken.isEmpty else {
            return FailoverCheck("pins", .fail, "\(broken.count) entries of core.pins are no pins", fix: "correct them")
        }
        return configuration.core.pins.isEmpty
            ? FailoverCheck("pins", .warn, "the core's certificate is not pinned", fix: "set core.pins")
            : FailoverCheck("pins", .pass, "\(configuration.core.pins.count) pins of the core")
    }
}
