open('/tmp/mhand/RAN','w')
class E: pass
