import Diagnostics

/// How the process ends, in the numbers of sysexits.h; the units restart on all but `configuration`.
package enum ExitCode: Int32, Sendable {
    /// Everything in flight was answered.
    case drained = 0
    /// Something that the service needs is away (EX_UNAVAILABLE).
    case unavailable = 69
    /// A fault of the program, or work was left unanswered (EX_SOFTWARE).
    case internalFault = 70
    /// The administrator's files have to be corrected first (EX_CONFIG).
    case configuration = 78

    package init(_ error: any Error) {
        switch error {
        case is ConfigurationError: self = .configuration
        case let error as DiagnosedError:
            switch error.fault {
            case .configuration: self = .configuration
            case .peer, .store: self = .unavailable
            case .client, .internal: self = .internalFault
            }
        default: self = .internalFault
        }
    }
}
