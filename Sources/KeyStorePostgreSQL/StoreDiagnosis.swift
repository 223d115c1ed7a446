import Diagnostics
import KeyStore
import PostgreSQLClient

/// What PostgreSQL refused or could not do, in words for an operator.
struct StoreDiagnosis: Sendable {
    /// How errors name the database: hosts and name, never the password.
    let place: String

    init(_ settings: PostgreSQLSettings) {
        place = settings.database + " at " + settings.hosts.map(\.description).joined(separator: ", ")
    }

    /// `error` as it leaves this module.
    func diagnosed(_ error: any Error) -> DiagnosedError {
        if let error = error as? DiagnosedError { return error }
        guard let failure = error as? PostgreSQLFailure else {
            return DiagnosedError(
                .storeFailed, fault: .internal, "the key store \(place) failed", found: "\(type(of: error))")
        }
        return diagnosed(failure)
    }

    /// A COMMIT was sent, and the database stayed away too long to ask what became of it.
    func unknownOutcome(_ failure: PostgreSQLFailure) -> DiagnosedError {
        DiagnosedError(
            .storeUnreachable, fault: .store,
            "the database \(place) does not answer; whether the change was made is not known yet",
            found: failure.description,
            hint: "the same request, sent again, gets its one answer when the database is back")
    }

    private func diagnosed(_ failure: PostgreSQLFailure) -> DiagnosedError {
        func error(
            _ code: DiagnosedError.Code, _ summary: String, fault: DiagnosedError.Fault = .store, _ hint: String? = nil
        ) -> DiagnosedError {
            DiagnosedError(code, fault: fault, summary, found: failure.description, hint: hint)
        }
        switch failure.kind {
        case .unreachable, .lost, .late, .unready:
            return error(
                .storeUnreachable, "the database \(place) does not answer",
                "see whether the server runs and the network leads there; this service goes on by itself when it is back"
            )
        case .readOnly:
            return error(
                .storeReadOnly, "the database \(place) takes no writes",
                "promote a standby, or name the primary among the hosts; nothing acknowledged was lost")
        case .superseded:
            return error(
                .storeSuperseded, "the database \(place) is of an epoch that is over",
                "stop that server and make it a standby of the one that was promoted (hdsctl failover plan)")
        case .tls:
            return error(
                .storeTLS, "the database \(place) is not proven to be the right one", fault: .configuration,
                "see that the server has ssl = on and a certificate for this host name, and that the authorities in "
                    + "the configuration are those that issued it")
        case .authentication:
            return error(
                .storeLogin, "the database \(place) refuses the login", fault: .configuration,
                "see user and password in the configuration and the server's pg_hba.conf")
        case .permission:
            return error(
                .storePermissions, "the database \(place) does not allow it", fault: .configuration,
                "grant it to the service's user, see docs/decisions/015-postgresql.md")
        case .missing:
            return error(
                .storeForeign, "the database \(place) has not what this version needs", fault: .configuration,
                "see the name of the database; tables are made at the start of the service only")
        case .full:
            return error(
                .storeFull, "no room in the database \(place)",
                "free space on the server; nothing acknowledged was lost, and writing resumes by itself")
        case .busy, .serialization, .tooManyConnections:
            return error(
                .storeBusy, "the database \(place) is too busy",
                "look for long transactions (pg_stat_activity) and at max_connections")
        case .corrupt:
            return error(
                .storeCorrupt, "the database \(place) is damaged",
                "look for errors of the server's disk, restore the last backup")
        case .constraint, .skipped, .other:
            return error(.storeFailed, "the database \(place) failed")
        }
    }
}
