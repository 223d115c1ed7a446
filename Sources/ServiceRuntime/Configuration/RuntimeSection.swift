package import Diagnostics

/// A service's configuration: its own sections and, under the key `runtime`, what every service has.
package protocol RuntimeConfiguration: Decodable, Sendable {
    var runtime: RuntimeSection { get }
}

/// The section `runtime`: health address, log, self-test, drain. Only `health.address` has to be given.
package struct RuntimeSection: Decodable, Sendable {
    package let health: HealthSection
    package let log: LogSection
    /// How long a stop may take; keep TimeoutStopSec of the unit above it.
    package let drainDeadline: Duration
    /// How often the service proves that it can work. The watchdog asks for it at least twice in WatchdogSec.
    package let selfTestInterval: Duration
    package let allowRoot: Bool

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case health, log
        case drainDeadline = "drain-deadline"
        case selfTestInterval = "self-test-interval"
        case allowRoot = "allow-root"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        health = try section.value(.health)
        log = try section.value(.log, default: LogSection())
        drainDeadline = try section.value(.drainDeadline, default: .seconds(20), in: .seconds(1) ... .seconds(600))
        selfTestInterval = try section.value(
            .selfTestInterval, default: .seconds(10), in: .seconds(1) ... .seconds(60))
        allowRoot = try section.value(.allowRoot, default: false)
    }
}

/// Where `/livez`, `/readyz`, `/healthz` and `/metrics` are served.
package struct HealthSection: Decodable, Sendable {
    package let address: NetworkAddress
    /// A decision: without it only addresses of this machine itself are accepted.
    package let allowOtherMachines: Bool

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case address
        case allowOtherMachines = "allow-other-machines"
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        address = try section.value(.address)
        allowOtherMachines = try section.value(.allowOtherMachines, default: false)
        guard address.isLoopback || allowOtherMachines else {
            throw section.problem(
                .address,
                "\(address) can be reached from other machines: use 127.0.0.1, or decide for it with "
                    + "allow-other-machines: true")
        }
    }
}

package struct LogSection: Decodable, Sendable {
    package enum Level: String, NamedValue, Sendable {
        case debug, info, notice, warning, error

        package var severity: Severity {
            switch self {
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            }
        }
    }

    package let level: Level
    package let format: LogSystem.Format

    package enum CodingKeys: String, CodingKey, CaseIterable { case level, format }

    package init(level: Level = .info, format: LogSystem.Format = .auto) {
        self.level = level
        self.format = format
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        level = try section.value(.level, default: .info)
        format = try section.value(.format, default: .auto)
    }
}
