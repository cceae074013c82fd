"""Which features tell phones apart?"""
