/// The interface of `hds-api` as an OpenAPI 3.1 document, served at `/openapi.json`.
enum APIDescription {
    static let json = """
        {"openapi":"3.1.0","info":{"title":"hds-api","version":"1","description":"Spaces and messages of the person whose \
        tokens come with a request, opened on the customer's machine by consent of the organisation."},\
        "components":{"securitySchemes":{"cloud":{"type":"http","scheme":"bearer"},\
        "kms":{"type":"apiKey","in":"header","name":"HDS-KMS-Token"}},\
        "schemas":{"Refusal":{"type":"object","required":["message"],"properties":{"message":{"type":"string"}}},\
        "Space":{"type":"object","required":["id","participants","published"],"properties":{"id":{"type":"string",\
        "format":"uuid"},"name":{"type":"string"},"participants":{"type":"array","items":{"type":"string"}},\
        "published":{"type":"string","format":"date-time"},"problem":{"type":"string"}}},\
        "Message":{"type":"object","required":["id","sequence","published","actor","kind"],"properties":{\
        "id":{"type":"string"},"sequence":{"type":"integer"},"published":{"type":"string","format":"date-time"},\
        "actor":{"type":"string"},"kind":{"enum":["text","files","added","left","keyChanged","edited","deleted","tombstone",\
        "unreadable"]},"text":{"type":"string"},"files":{"type":"array","items":{"type":"string"}},\
        "person":{"type":"string"},"message":{"type":"string"},"reason":{"type":"string"}}}}},\
        "security":[{"cloud":[],"kms":[]}],"paths":{\
        "/v1/spaces":{"get":{"summary":"The person's spaces","responses":{"200":{"description":"All of them","content":{\
        "application/json":{"schema":{"type":"object","properties":{"items":{"type":"array","items":{\
        "$ref":"#/components/schemas/Space"}}}}}}},"default":{"$ref":"#/components/responses/Refused"}}}},\
        "/v1/spaces/{id}/messages":{"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string",\
        "format":"uuid"}}],"get":{"summary":"Messages after a number, in order","parameters":[{"name":"since","in":"query",\
        "schema":{"type":"integer","minimum":0}},{"name":"limit","in":"query","schema":{"type":"integer","minimum":1,\
        "maximum":200}}],"responses":{"200":{"description":"A page; next is where the next one begins","content":{\
        "application/json":{"schema":{"type":"object","properties":{"items":{"type":"array","items":{\
        "$ref":"#/components/schemas/Message"}},"next":{"type":"integer"}}}}}},\
        "default":{"$ref":"#/components/responses/Refused"}}},"post":{"summary":"Post a text as the person",\
        "requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","required":["text"],\
        "properties":{"text":{"type":"string","maxLength":97280}}}}}},"responses":{"201":{"description":"Posted",\
        "content":{"application/json":{"schema":{"type":"object","properties":{"sequence":{"type":"integer"}}}}}},\
        "default":{"$ref":"#/components/responses/Refused"}}}}}}
        """
        .replacing(
            "\"schemas\":{\"Refusal\"",
            with:
                "\"responses\":{\"Refused\":{\"description\":\"401 without good tokens, 403 by the rule that is named, "
                + "429 too fast, 503 something does not answer\",\"content\":{\"application/json\":{\"schema\":{"
                + "\"$ref\":\"#/components/schemas/Refusal\"}}}}},\"schemas\":{\"Refusal\"")
}
