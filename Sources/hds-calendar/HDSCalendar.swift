import ArgumentParser
import CalendarService
import Glibc
import ServiceRuntime

/// The calendar connector.
@main
struct HDSCalendar: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hds-calendar", abstract: "The calendar connector of a hybrid data security appliance.",
        discussion: """
            Keeps meetings and calendars in step: reads the users' calendars, tells the cloud core what it may know with every text \
            encrypted under keys of the KMS, and writes join details that a user has sealed into the invitations, without losing \
            anything that stands there. Runs until SIGTERM. A configuration that can not be used ends it with 78 and says what to \
            correct.
            """, version: CalendarAssembly.identity.version)

    @Option(name: .long, help: "The configuration, a YAML file; every key is explained in config/hds-calendar.yaml.")
    var config = "/etc/hds/hds-calendar.yaml"

    func run() async throws {
        let code = await ServiceRuntime.run(
            CalendarAssembly.identity, configurationFile: config, as: CalendarServiceConfiguration.self
        ) { configuration, context in
            try await CalendarAssembly.start(configuration, context)
        }
        Glibc.exit(code.rawValue)
    }
}
