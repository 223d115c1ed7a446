import Diagnostics
import Testing
import WireText

@testable import ServiceRuntime
@testable import hds_auth

extension StoryTests {
    @Suite("Watch over providers") struct ProviderWatchTests {
        private struct Silence: EventRecorder {
            func isRecorded(_ severity: Severity) -> Bool { false }
            func write(_ event: Event, _ fields: LogFields) {}
        }

        @Test("[HDS-AUTH-PROVIDER] a provider that can not be used raises it, for itself alone, until it can be used")
        func alarm() async {
            let alarms = AlarmBoard(events: Silence(), metrics: MetricRegistry())
            func standing() -> [String] {
                alarms.current.filter { $0.alarm.id == "HDS-AUTH-PROVIDER" }.map(\.subject.text)
            }
            let away = DiagnosedError("oidc-unavailable", fault: .peer, "the provider gives no document")
            let found = await ProviderWatch.look("staff", alarms) { throw away }
            #expect(found.state == .fail)
            _ = await ProviderWatch.look("partner", alarms) {}
            #expect(standing() == ["staff"])
            #expect(await ProviderWatch.look("staff", alarms) {}.state == .ok)
            #expect(standing().isEmpty)
        }
    }
}
