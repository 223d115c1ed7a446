import Diagnostics
import ServiceRuntime
import TokenIssuer

/// Whether people can sign in at their providers, with the alarm for each. Who is signed in does not notice.
enum ProviderWatch {
    static func begin(_ providers: IdentityProviders, _ context: ServiceContext) {
        let alarms = context.alarms
        for provider in providers.list {
            let check = HealthCheck("provider-\(provider.name)", "the provider \(provider.name)")
            // A provider that is asked at this moment is no reason to call the start a degraded one.
            context.health.report(check, .ok("not asked yet"))
            context.health.probe(check, every: .seconds(60)) {
                await look(provider.name, alarms) { try await provider.check() }
            }
        }
    }

    static func look(_ name: String, _ alarms: AlarmBoard, check: () async throws -> Void) async -> HealthFinding {
        let about = Loggable(reviewed: name)
        do {
            try await check()
            alarms.clear(.providerUnreachable, about: about, "the provider can be used")
            return .ok("the provider can be used")
        } catch {
            alarms.raise(.providerUnreachable, about: about, Loggable(error: error))
            return .fail(error)
        }
    }
}
